"""`sse-tap play`, on a clock of the test's."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from sse_tap.cli import main
from sse_tap.cli.play import Pace, scroll, text, times
from sse_tap.trace.file import encode
from tests.build import DONE, comment, content, event, records, trace

CHAT = trace(
    "edge",
    [(100.0, comment()), (600.0, content("Hel")), (700.0, content("lo\n")), (5000.0, DONE)],
    end_ms=5100,
)


class Theatre:
    """Time that passes only by waiting, and keys pressed at its moments."""

    def __init__(self, presses: dict[float, str] | None = None) -> None:
        self.t = 0.0
        self.presses = dict(presses or {})

    def now(self) -> float:
        return self.t

    def read(self, seconds: float) -> str:
        due = [moment for moment in self.presses if moment <= self.t + seconds]
        if due:
            self.t = max(self.t, min(due))
            return self.presses.pop(min(due))
        self.t += seconds
        return ""


def shown(
    theatre: Theatre, speed: float = 1, cap: int | None = None, show: Callable[..., None] = scroll
) -> list[str]:
    out = Console(file=io.StringIO(), width=100, force_terminal=False)
    show(CHAT, times(CHAT, speed, cap), Pace(theatre.read, theatre.now), out)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().splitlines()


def test_every_block_has_its_line_and_the_end_its_word() -> None:
    theatre = Theatre()
    lines = shown(theatre)
    assert lines[0] == "edge: POST /chat/stream → 200 text/event-stream"
    assert [line.split()[:3] for line in lines[1:-1]] == [
        ["0.100", "+0.100", "comment"],
        ["0.600", "+0.500", "content"],
        ["0.700", "+0.100", "content"],
        ["5.000", "+4.300", "done"],
    ]
    assert lines[2].endswith("Hel")
    assert lines[-1] == "complete after 5.1 s, 4 blocks"
    assert theatre.t == pytest.approx(5.1)


def test_speed_and_idle_cap() -> None:
    assert times(CHAT, 2, None) == [0.05, 0.3, 0.35, 2.5, 2.55]
    assert times(CHAT, 1, 200_000_000) == pytest.approx([0.1, 0.3, 0.4, 0.6, 0.7])
    theatre = Theatre()
    shown(theatre, speed=0)
    assert theatre.t == 0


def test_space_stops_the_clock_until_the_next() -> None:
    theatre = Theatre({0.35: " ", 60.35: " "})
    assert len(shown(theatre)) == 6
    assert theatre.t == pytest.approx(65.1)


@pytest.mark.parametrize("presses", [{0.35: "q"}, {0.35: " ", 5.0: "q"}, {0.35: "\x03"}])
def test_q_ends_it(presses: dict[float, str]) -> None:
    assert len(shown(Theatre(presses))) == 2


def test_text_alone_reads_as_a_chat() -> None:
    assert shown(Theatre(), show=text) == ["Hello", ""]


def test_as_a_command(tmp_path: Path) -> None:
    evil = trace("edge", [(1.0, event("\x1b]0;x\x07")), (2.0, content("a\x1b[2Jb"))], reason=None)
    path = tmp_path / "evil.sse.jsonl"
    path.write_bytes(b"".join(map(encode, records(evil))))  # type: ignore[arg-type]
    for options in ([], ["--text"], ["--speed", "0", "--width", "40"]):
        result = CliRunner().invoke(main, ["play", str(path), *options])
        assert result.exit_code == 0, result.output
        assert "\x1b" not in result.stdout
    assert CliRunner().invoke(main, ["play", str(tmp_path)]).exit_code == 2


def test_a_stop_is_said_and_is_no_silence() -> None:
    theatre = Theatre({0.35: " ", 60.35: " "})
    said: list[str] = []
    pace = Pace(theatre.read, theatre.now)
    assert pace.until(1.0, said.append)
    assert "paused: space goes on, q ends" in said
    assert said[-1] in ("… 0.9 s of silence", "… 1.0 s of silence")


def test_what_is_wrong_with_the_record_is_said() -> None:
    gzip = (("content-type", "text/event-stream"), ("content-encoding", "gzip"))
    out = Console(file=io.StringIO(), width=100)
    for broken in (
        trace("edge", [(1, b"no gzip")], headers=gzip, problems=["a line was stepped over"]),
        trace("edge", [(1, b"data: a\n\ndata: b")]),
    ):
        scroll(broken, times(broken, 0, None), Pace(Theatre().read, Theatre().now), out)
    assert isinstance(out.file, io.StringIO)
    said = out.file.getvalue()
    assert "a line was stepped over\n" in said
    assert "gzip" in said
    assert "complete after 1.0 ms, 1 block, then 7 bytes of one that is not whole" in said
