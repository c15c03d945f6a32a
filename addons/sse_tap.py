"""Records every streamed response: `mitmdump -s addons/sse_tap.py`.

The same addon as `mitmdump -s sse_tap`, for a clone of the repository. The package is the installed
one, or else the one next to this folder.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

# mitmproxy puts this folder first on sys.path, where this very file would pass for the package.
_here = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _here]
if find_spec("sse_tap") is None:
    sys.path.append(str(_here.parent))

from sse_tap.tap.addon import SSETap  # noqa: E402

addons = [SSETap()]
