"""The fuzzed checks led by coverage (atheris): what reaches new lines is kept and changed further.

    python -m tests.fuzz.guided                     # every target for 60 s
    python -m tests.fuzz.guided --seconds 10 http1  # one

Each target runs in a process of its own. An input that breaks one is written to build/fuzz, and the exit
status is 1. atheris has to be there (`make fuzz-guided` sees to that).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

HOME = Path(__file__).parents[2] / "build" / "fuzz"
TARGETS = ("trace", "har", "curl", "mitm", "http1", "http2", "coding", "body", "request")
_MOST = 4096  # bytes of an input
_SLOW = 25  # seconds for one input


def main(arguments: Sequence[str] | None = None) -> int:
    """Run targets, one after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.one:
        fuzz(asked.one, asked.seconds)
    failed = [name for name in asked.targets or TARGETS if not holds(name, asked.seconds)]
    print(f"broken: {', '.join(failed)}; inputs in {HOME}" if failed else "all held")
    return 1 if failed else 0


def holds(name: str, seconds: int) -> bool:
    """Whether a target took everything for so long."""
    command = [sys.executable, "-m", "tests.fuzz.guided", "--one", name, "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    tried = [line for line in done.stderr.splitlines() if line.startswith("Done ")]
    print(f"{name:8} {tried[-1] if tried and not done.returncode else done.stderr[-3000:]}", flush=True)
    return done.returncode == 0


def fuzz(name: str, seconds: int) -> None:
    """Run one target in this process; does not return."""
    import atheris

    with atheris.instrument_imports(include=["sse_tap"]):
        from tests.fuzz import test_fuzz as checks

    check, seeds = _target(name, checks, atheris.FuzzedDataProvider)
    HOME.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="sse-tap-fuzz-") as place:
        for number, seed in enumerate(seeds):
            Path(place, str(number)).write_bytes(seed)
        options = [f"-max_total_time={seconds}", f"-max_len={_MOST}", f"-timeout={_SLOW}"]
        options += [f"-artifact_prefix={HOME}/{name}-", "-rss_limit_mb=2048", place]
        atheris.Setup([sys.argv[0], *options], check)
        atheris.Fuzz()


type Target = Callable[[bytes], None]


def _target(name: str, checks: object, provider: Callable[[bytes], object]) -> tuple[Target, Sequence[bytes]]:
    """A check that takes bytes, and what it begins with."""
    from sse_tap.importing import CannotImport, curllog, trace_of
    from sse_tap.importing import har as har_import
    from sse_tap.observe.http1 import Http1Observer
    from sse_tap.observe.http2 import Http2Observer
    from sse_tap.tap import flowfile

    def inner(test: str) -> Callable[..., None]:
        found: Callable[..., None] = getattr(checks, test).hypothesis.inner_test
        return found

    def imported(read: Callable[[bytes], list]) -> Target:  # type: ignore[type-arg]
        def check(data: bytes) -> None:
            try:
                found = read(data)
            except CannotImport:
                return
            for one in found:
                checks.judged(trace_of(one, "t", "fuzz"))  # type: ignore[attr-defined]

        return check

    def peer(observer: type[Http1Observer | Http2Observer]) -> Target:
        def check(data: bytes) -> None:
            said = provider(data)
            cut = said.ConsumeIntInRange(1, 40)  # type: ignore[attr-defined]
            asked = said.ConsumeBytes(said.ConsumeIntInRange(0, 1000))  # type: ignore[attr-defined]
            answered = said.ConsumeBytes(_MOST)  # type: ignore[attr-defined]
            inner("test_a_peer")(observer, asked, answered, cut)

        return check

    def coding(data: bytes) -> None:
        kinds = ("gzip", "deflate", "br", "zstd", "gzip, br")
        inner("test_a_coding")(kinds[data[0] % len(kinds)] if data else "x", data[1:])

    def request(data: bytes) -> None:
        kinds = ("application/json", "", "multipart/form-data; boundary=b", "text/xml", "text/plain")
        inner("test_a_request_body")(data[1:], kinds[data[0] % len(kinds)] if data else "")

    seeds = {
        "trace": "TRACES",
        "har": "HARS",
        "curl": "LOGS",
        "mitm": "FLOWS",
        "http1": "ASKS",
        "http2": "FRAMES",
    }
    targets: dict[str, Target] = {
        "trace": inner("test_a_trace_of_a_stranger"),
        "har": imported(har_import.read),
        "curl": imported(lambda data: curllog.read(data, checks.DAY)),  # type: ignore[attr-defined]
        "mitm": imported(flowfile.read),
        "http1": peer(Http1Observer),
        "http2": peer(Http2Observer),
        "coding": coding,
        "body": inner("test_a_body"),
        "request": request,
    }
    return targets[name], getattr(checks, seeds[name]) if name in seeds else [b"data: a\n\n"]


if __name__ == "__main__":
    sys.exit(main())
