"""What a recorder is told at its start."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from sse_tap.recording.alarm import HoldAlarm
from sse_tap.recording.retention import Retention
from sse_tap.recording.settings import Settings, listeners, seams


def test_settings_survive_the_way_to_another_process() -> None:
    given = Settings("d", ("a/b",), "~u x", "pin", 5, 1, {"sse_tap": "1"})
    again = Settings(**json.loads(json.dumps(asdict(given))))
    assert (again.directory, [*again.types], again.alarm) == ("d", ["a/b"], 5)
    assert again.hash_key == given.hash_key
    assert given.hash_key not in repr(given)


def test_a_pattern_names_further_secrets() -> None:
    assert seams("^nut$").redact_url("/?NUT=1&x=2") == "/?NUT=[redacted]&x=2"
    assert seams("").redact_url("/?nut=1") == "/?nut=1"
    assert seams("nut").redact_headers((("X-Nut", "1"),)) == (("X-Nut", "[redacted]"),)
    form = (("Content-Type", "application/x-www-form-urlencoded"),)
    assert seams("nut").redact_body(b"nut=1", form) == b"nut=[redacted]"


@pytest.mark.parametrize("alarm", [0, 100])
def test_the_alarm_hears_where_it_is_asked_for(alarm: int) -> None:
    verdicts, heard = listeners(Settings("d", alarm=alarm), Path, lambda line: None, lambda text: None)
    assert heard[0] is verdicts
    assert [type(each) for each in heard[1:]] == [HoldAlarm] * bool(alarm)
    verdicts.close()


def test_bodies_are_blanked_where_that_is_asked_for() -> None:
    said = b'{"message":"secret"}'
    kind = (("Content-Type", "application/json"),)
    assert seams("").redact_body(said, kind) == said
    assert b"secret" not in seams("", bodies=True).redact_body(said, kind)
    assert (seams("").blanker, seams("", bodies=True).blanker is None) == (None, False)


@pytest.mark.parametrize("limit", [{}, {"max_disk": 1}, {"max_age": 1}])
def test_old_traces_are_looked_for_where_there_is_a_limit(limit: dict[str, int], tmp_path: Path) -> None:
    given = Settings(str(tmp_path), **limit)  # type: ignore[arg-type]
    verdicts, heard = listeners(given, lambda: tmp_path, lambda line: None, lambda text: None)
    assert [type(each) for each in heard[1:]] == [Retention] * bool(limit)
    verdicts.close()
