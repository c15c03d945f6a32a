"""What watched processes did while a stream ran."""

from __future__ import annotations

from sse_tap.blocks.timing import Seen
from sse_tap.trace.records import Sample
from sse_tap.verdict.findings import findings_of
from sse_tap.verdict.report import report_on
from tests import build
from tests.build import MS, event

KINDS = {"memory-limit", "cpu-throttled", "busy-process", "process-gone", "starved-process"}
EVENTS = [(100, event("a")), (3100, event("b")), (3200, event("c"))]
GB = 1_000_000_000


def sample(
    ms: int, rss: int = GB, cpu: int = 0, limit: int = 2 * GB, throttled: int = 0, **more: int
) -> Sample:
    return Sample(ms * MS, "app", rss, cpu * MS, limit, throttled * MS, **more)  # type: ignore[arg-type]


def found(*samples: Sample) -> list[tuple[str, str, str]]:
    trace = build.trace("edge", EVENTS, samples=samples)
    return [(f.kind, f.severity, f.text) for f in findings_of(Seen(trace)) if f.kind in KINDS]


def test_nothing_is_said_of_what_is_ordinary() -> None:
    assert found() == []
    assert found(*(sample(1000 * i, cpu=300 * i, throttled=10) for i in range(4))) == []


def test_memory_near_its_limit() -> None:
    told = found(sample(0), sample(1000, rss=1_900_000_000), sample(2000, rss=1_950_000_000))
    assert told == [("memory-limit", "warning", "app used 1.8 GiB of the 1.9 GiB it may (98 %)")]
    assert found(sample(0, rss=3 * GB, limit=0)) == []


def test_a_cpu_limit_that_kept_it_from_running() -> None:
    told = found(sample(0, throttled=500), sample(1000, throttled=900), sample(2000, throttled=900))
    text = "app was kept from running for 400 ms while it was watched for 2 s: its CPU limit"
    assert told == [("cpu-throttled", "warning", text)]


def test_a_core_in_full_use_in_a_silence() -> None:
    [(kind, _, text)] = found(*(sample(1000 * i, cpu=990 * i) for i in range(4)))
    assert (kind, text) == ("busy-process", "while no byte came for 3 s, app used 99 % of a core")
    assert found(sample(1000, cpu=0), sample(1500, cpu=500)) == []  # too short to speak for the silence


def test_a_process_that_ended() -> None:
    told = found(sample(0), sample(1000, gone=True))
    assert told == [("process-gone", "error", "app ended, or another took its place, while the stream ran")]


def test_of_two_taps_one_tells() -> None:
    samples = [sample(0), sample(1000, rss=1_900_000_000)]
    later = [(t + 0.4, data) for t, data in EVENTS]
    up = build.trace("origin", EVENTS, origin_ms=0.2, samples=samples)
    down = build.trace("edge", later, response_ms=1.4, samples=samples)
    [stream] = report_on([Seen(up), Seen(down)]).streams
    told = [finding for finding in stream.findings if finding.kind in KINDS]
    assert [(one.kind, one.tap) for one in told] == [("memory-limit", "origin")]


def test_a_process_without_a_processor_in_a_silence() -> None:
    told = found(*(sample(1000 * i, waited=300 * i * MS) for i in range(4)))
    waited = "the threads of app waited for a processor for 600 ms in 2 s, all together"
    text = f"while no byte came for 3 s, {waited}"
    assert told == [("starved-process", "warning", text)]
    assert found(*(sample(1000 * i, waited=240 * i * MS) for i in range(4))) == []


def test_a_process_without_a_processor_all_the_time() -> None:
    close = [(100 * i, event(str(i))) for i in range(1, 30)]
    samples = [sample(1000 * i, waited=500 * i * MS) for i in range(3)]
    told = findings_of(Seen(build.trace("edge", close, samples=samples)))
    [(severity, text)] = [(f.severity, f.text) for f in told if f.kind == "starved-process"]
    assert (severity, text) == (
        "info",
        "the threads of app waited for a processor for 1 s in 2 s, all together",
    )


def test_a_machine_that_is_short_of_processors_is_told_once() -> None:
    later = [(t + 0.4, data) for t, data in [*EVENTS[:-1], (3200, event("other"))]]
    busy = [(1000, 1000, 600), (2000, 1000, 250)]
    up = build.trace("origin", EVENTS, origin_ms=0.2, pressures=busy)
    down = build.trace("edge", later, response_ms=1.4, pressures=busy)
    [stream] = report_on([Seen(up), Seen(down)]).streams
    [(severity, text)] = [(f.severity, f.text) for f in stream.findings if f.kind == "short-of-processors"]
    assert severity == "info"
    assert text == (
        "the tap's machine was short of processors: some program had none for 850 ms, "
        "at worst for 600 of 1000 ms"
    )
    busier = [(1000, 1000, 700), (2000, 1000, 650)]
    other = build.trace("edge", later, response_ms=1.4, pressures=busier, boot_id="another")
    [stream] = report_on([Seen(up), Seen(other)]).streams
    assert [f.kind for f in stream.findings].count("short-of-processors") == 2
    clean = build.trace("edge", [(t + 0.4, data) for t, data in EVENTS], response_ms=1.4, pressures=busy)
    [stream] = report_on([Seen(up), Seen(clean)]).streams
    assert "short-of-processors" not in {finding.kind for finding in stream.findings}


def test_a_machine_that_is_a_little_busy_is_not_told() -> None:
    trace = build.trace("edge", EVENTS, pressures=[(1000, 1000, 600)])
    assert "short-of-processors" not in {finding.kind for finding in findings_of(Seen(trace))}
