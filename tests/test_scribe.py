"""The recorder's process, run in this one: what it does when the relay ends, and when it is gone."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sse_tap.recording.parcels import Kind, pack, pack_json
from sse_tap.recording.settings import Settings
from sse_tap.scribe import Scribe, Voice, find_filter, serve, settings_from
from sse_tap.trace.file import read_trace
from tests.recording.test_recorder import HEAD, PIECES, REQUEST, chunk, kinds, reason

T = time.monotonic_ns()
TAP = pack_json(Kind.TAP, ["edge", "", "", "wire"], 1)
CONNECTION = pack_json(Kind.CONNECTION, ["http", ""], 2, read=1)


def server(data: bytes, late: int = 0) -> bytes:
    return pack(Kind.SERVER, 2, T + 2, 1, 0, len(data), late) + data


STREAM = TAP + CONNECTION + pack(Kind.CLIENT, 2, T, size=len(REQUEST)) + REQUEST + server(HEAD)


def served(folder: Path, parcels: bytes, **settings: Any) -> list[dict[str, Any]]:
    """What is said of these parcels, after which the relay is gone."""
    source, to = os.pipe()
    back, voice = os.pipe()
    os.write(to, parcels)
    os.close(to)
    serve(source, Scribe(Settings(str(folder), **settings), Voice(voice)))
    os.close(voice)
    with os.fdopen(back, "rb") as words:
        said = [json.loads(line) for line in words]
    os.close(source)
    return said


def test_when_the_relay_says_that_it_ends_the_traces_end(tmp_path: Path) -> None:
    late = server(chunk(PIECES[0]), 2_000_000)
    said = served(tmp_path, STREAM + late + pack(Kind.STOP))
    (trace,) = map(read_trace, tmp_path.iterdir())
    assert (reason(trace), kinds(trace)) == ("tap-stopped", [])
    assert trace.chunks[0].handed == trace.chunks[0].t + 2_000_000
    assert said[-1] == {"end": True}
    assert {"counts": [1, [1, 1, 1, 0, 0], {}]} in said


def test_when_the_relay_is_gone_the_traces_end_and_say_so(tmp_path: Path) -> None:
    said = served(tmp_path, STREAM + server(chunk(PIECES[0])) + STREAM[:50])
    (trace,) = map(read_trace, tmp_path.iterdir())
    assert (reason(trace), kinds(trace)) == ("tap-stopped", ["relay-died"])
    assert trace.chunks.body == PIECES[0]
    assert said[-1] == {"end": True}


def test_what_it_cannot_use_is_said_and_is_no_fault(tmp_path: Path) -> None:
    unknown = pack(Kind.FACT, 99) + pack_json(Kind.CONNECTION, ["http", ""], 3, read=77) + pack(200)
    greeting = b"220 mail.test ESMTP\r\n"
    said = served(
        tmp_path, unknown + TAP + CONNECTION + server(greeting) + server(greeting) + pack(Kind.STOP)
    )
    assert said[-3:-1] == [{"blind": 2}, {"counts": [1, [0, 0, 0, 0, 0], {}]}]
    assert any("the record suffers" in word.get("say", "") for word in said)


def test_with_an_alarm_the_time_that_is_known_of_is_the_relays(tmp_path: Path) -> None:
    source, to = os.pipe()
    scribe = Scribe(Settings(str(tmp_path), alarm=100), Voice(to))
    ticks: list[int] = []
    scribe._engine.listeners = [type("L", (), {"tick": lambda self, t: ticks.append(t)})()]
    scribe.turn()
    from sse_tap.recording.parcels import Unpacker

    for parcel in Unpacker().feed(pack(Kind.AWAKE, t=77)):
        scribe.take(parcel)
    scribe.turn()
    scribe.finish(crashed=False)
    assert ticks == [0, 77]
    os.close(source)


def test_a_relay_that_does_not_listen_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sse_tap.scribe._UNHEARD", 0.05)
    source, to = os.pipe()
    voice = Voice(to)
    began = time.monotonic()
    voice.say(say="x" * 1_000_000)
    os.close(source)
    voice.say(say="nobody")
    assert time.monotonic() - began < 5
    os.close(to)


def test_mitmproxy_is_asked_only_where_there_is_a_filter() -> None:
    assert find_filter("") is None
    assert find_filter("~m GET") is not None


def test_a_relay_that_is_gone_before_it_said_anything() -> None:
    source, to = os.pipe()
    os.write(to, pack_json(Kind.SETTINGS, asdict(Settings("there"))))
    assert settings_from(source).directory == "there"
    os.close(to)
    with pytest.raises(EOFError):
        settings_from(source)
    os.close(source)
