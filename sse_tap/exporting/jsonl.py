"""JSON Lines: an object for each block."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sse_tap.exporting.rows import rows
from sse_tap.trace.records import Trace


def write(traces: Sequence[Trace]) -> str:
    """The blocks as one JSON object a line; everything but ASCII is escaped."""
    return "".join(json.dumps(row) + "\n" for row in rows(traces))
