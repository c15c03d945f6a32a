"""The words of the verdict (`docs/verdicts.md`)."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What a hop did to a stream, judged by what its client gets."""

    CLEAN = "clean"
    COALESCES = "coalesces"  # blocks that left apart arrived together
    DELAYS = "delays"  # blocks are held, or the request was kept back
    DROPS = "drops"  # blocks or text never came out, though the stream went on or ended well
    ALTERS = "alters"  # what a client parses differs
    BREAKS = "breaks"  # it ended otherwise than upstream, or the client's leaving did not get through
    ANSWERS = "answers"  # the answer is the hop's own
    SLOW_CLIENT = "slow-client"  # a reader that did not take its bytes explains it
    INCONCLUSIVE = "inconclusive"  # what the taps or the machine did is as large as what would be flagged


FLAGGED = frozenset(
    {
        Verdict.COALESCES,
        Verdict.DELAYS,
        Verdict.DROPS,
        Verdict.ALTERS,
        Verdict.BREAKS,
        Verdict.ANSWERS,
    }
)
