"""The file that mitmproxy loads for `-s sse_tap` (`sse_tap/_startup.py` makes the name resolve to it)."""

import sys
from pathlib import Path

# mitmproxy puts a script's folder first on sys.path; this one holds a package's modules, not scripts.
sys.path[:] = [entry for entry in sys.path if entry != str(Path(__file__).parent)]

from sse_tap.tap.addon import SSETap  # noqa: E402

addons = [SSETap()]
