"""Every expectation by its name: how its value is read, how it is judged, and what its help says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sse_tap.checking import between, onetap
from sse_tap.checking.case import Answer, Case
from sse_tap.checking.values import count, interval, length, memory, some_text, words_of
from sse_tap.trace.records import END_REASONS
from sse_tap.verdict.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Expected:
    """A kind of expectation. `read` takes its value's text and raises ValueError; None: it is a flag.

    `nothing`: what is said where it speaks of none of the streams; `many`: it may be given several times.
    """

    judge: Callable[[Case, Any], Answer]
    help: str
    read: Callable[[str], Any] | None = None
    metavar: str = ""
    nothing: str = ""
    many: bool = False


EXPECTATIONS: Mapping[str, Expected] = {
    "events": Expected(
        onetap.events,
        "So many events came; [DONE] and pings do not count. Also >=N, <=N.",
        count,
        "N",
    ),
    "interval": Expected(
        onetap.interval,
        "Each event came so long after the one before, e.g. 1s±200ms or 1s+-200ms.",
        interval,
        "TIME±TIME",
    ),
    "incremental": Expected(
        between.incremental,
        "The events came as they were made, and not at the end: compared with the innermost tap, or, where "
        "there is one tap, by their spread over the stream's life.",
    ),
    "comment": Expected(
        onetap.comment,
        "A comment with this text came; may be given several times.",
        some_text,
        "TEXT",
        many=True,
    ),
    "max-silence": Expected(
        onetap.max_silence, "Longest time without a byte after the headers.", length, "TIME"
    ),
    "max-data-silence": Expected(
        onetap.max_data_silence,
        "Longest time without data after the headers, whatever comments and pings came.",
        length,
        "TIME",
    ),
    "max-ttfb": Expected(onetap.max_ttfb, "Longest time to the response's headers.", length, "TIME"),
    "max-ttfe": Expected(onetap.max_ttfe, "Longest time to the first event.", length, "TIME"),
    "max-ttft": Expected(
        onetap.max_ttft, "Longest time to the first event with a model's text.", length, "TIME"
    ),
    "max-hold": Expected(
        between.max_hold,
        "Longest time for which a hop held a block back, over its own baseline.",
        length,
        "TIME",
    ),
    "verdict": Expected(
        between.verdict,
        "The verdict on every hop; several with commas, e.g. clean,slow-client.",
        words_of([str(one) for one in Verdict]),
        "VERDICT",
    ),
    "end": Expected(
        onetap.end,
        f"How it ended: {', '.join(END_REASONS)}; several with commas.",
        words_of(END_REASONS),
        "END",
    ),
    "max-duration": Expected(
        onetap.max_duration, "Longest time from the request to the end.", length, "TIME"
    ),
    "min-duration": Expected(
        onetap.min_duration, "Shortest time from the request to the end.", length, "TIME"
    ),
    "abort-reaches-upstream": Expected(
        between.abort_reaches_upstream,
        "Where a client left before the end, every tap upstream was told within this time.",
        length,
        "TIME",
        nothing="no client left before its stream was over",
    ),
    "resumes": Expected(
        between.resumes,
        "Where a request named a Last-Event-ID, all events after it came, and none twice.",
        nothing="no request named a Last-Event-ID",
    ),
    "max-rss": Expected(
        onetap.max_rss,
        "Most memory that a process watched by sse-tap record --watch used meanwhile, e.g. 1.5GB.",
        memory,
        "SIZE",
        nothing="no process was watched (sse-tap record --watch)",
    ),
    "no-errors": Expected(onetap.no_errors, "No finding of severity error (see sse-tap hops)."),
}
