"""Replay: recorded streams played back, chunk for chunk and on time, or broken on purpose."""

from sse_tap.replay.app import Served
from sse_tap.replay.faults import FAULTS, parse_faults
from sse_tap.replay.server import Replay

__all__ = ["FAULTS", "Replay", "Served", "parse_faults"]
