"""Answers matching requests from recorded traces, on time; everything else passes.

    mitmdump -s addons/replay.py --set sse_tap_replay=recordings
    mitmdump -s addons/replay.py -s addons/sse_tap.py --mode reverse:http://localhost:8001 \
        --set sse_tap_replay=recordings/chat.sse.jsonl --set sse_tap_replay_faults=coalesce=4

The model switched off while the rest stays real. Works in every mode of mitmproxy and beside other
addons. A request matches by its method and path, then by query and body (`sse-tap replay -h`).
"""

import sys
from importlib.util import find_spec
from pathlib import Path

# mitmproxy puts this folder first on sys.path, where sse_tap.py would pass for the package.
_here = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _here]
if find_spec("sse_tap") is None:
    sys.path.append(str(_here.parent))

from sse_tap.tap.replay_addon import SSEReplay  # noqa: E402

addons = [SSEReplay()]
