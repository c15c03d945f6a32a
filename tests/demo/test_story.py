from __future__ import annotations

from pathlib import Path

import pytest

from sse_tap.blocks.sse import Block
from sse_tap.demo import stage as stage_module
from sse_tap.demo.stage import SCENES, Call, Scene, Stage, chatting, counting
from sse_tap.demo.story import Received, as_json, play
from sse_tap.verdict.judge import Verdict

QUICK = "/test/stream?n=12&interval=0.04"


class Silent:
    """An audience that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def call(self, call: Call) -> None:
        self.told.append(call.method)

    def block(self, block: Block) -> None:
        self.told.append("block")

    def received(self, received: Received) -> None:
        self.told.append(f"{received.blocks} blocks")


def scene(expects: Verdict, buffer: int = 0) -> Scene:
    return Scene("Caddy", "relay", "", expects, (Call("GET", QUICK, ""),), buffer)


@pytest.fixture
def without_caddy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(stage_module, "find_caddy", lambda: None)
    return Stage(tmp_path, tmp_path / "recordings")


def test_a_buffer_is_found_by_its_verdict_whatever_was_expected(without_caddy: Stage) -> None:
    audience = Silent()
    with without_caddy as stage:
        held = play(stage, scene(Verdict.COALESCES, buffer=65536), audience)
        wrong = play(stage, scene(Verdict.CLEAN, buffer=65536), Silent())
    assert (held.verdicts, held.as_expected) == ((Verdict.COALESCES,), True)
    assert (wrong.verdicts, wrong.as_expected) == ((Verdict.COALESCES,), False)
    assert audience.told == ["GET", *["block"] * 13, "13 blocks"]
    assert held.received[0].last - held.received[0].first < held.received[0].first
    judged = held.report.streams[0].hops[0]
    assert judged.shape.signature == "whole-response"
    assert judged.cause is not None
    assert "response buffering" in judged.cause.remedy


def test_a_healthy_hop_is_not_taken_for_the_held_one(without_caddy: Stage) -> None:
    with without_caddy as stage:
        played = play(stage, scene(Verdict.COALESCES), Silent())
    assert Verdict.COALESCES not in played.verdicts
    assert not played.as_expected
    shown = as_json(played)
    assert (shown["expected"], shown["as_expected"]) == ("coalesces", False)
    assert shown["client"][0]["blocks"] == 13
    assert shown["report"]["streams"][0]["hops"][0]["verdict"] == shown["found"][0]


def test_a_refused_request_is_an_error(without_caddy: Stage) -> None:
    nowhere = Scene("Caddy", "relay", "", Verdict.CLEAN, (Call("GET", "/nowhere", ""),))
    with without_caddy as stage, pytest.raises(ValueError, match="answered 404"):
        play(stage, nowhere, Silent())


def test_pauses_are_well_over_what_counts_as_apart_and_the_whole_is_short() -> None:
    targets = [call.target for scene in SCENES for call in scene.calls]
    pauses = [float(target.rpartition("=")[2]) for target in targets]
    assert min(pauses) >= 0.04
    assert counting(0.1).text == "a count every 100 ms"
    assert chatting(0.06).target == "/chat/stream?interval=0.06"
