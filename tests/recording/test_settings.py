"""What a recorder is told at its start."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from sse_tap.recording.alarm import HoldAlarm
from sse_tap.recording.settings import Settings, listeners, seams


def test_settings_survive_the_way_to_another_process() -> None:
    given = Settings("d", ("a/b",), "~u x", "pin", 5, 1, {"sse_tap": "1"})
    again = Settings(**json.loads(json.dumps(asdict(given))))
    assert (again.directory, [*again.types], again.alarm) == ("d", ["a/b"], 5)


def test_a_pattern_names_further_secrets() -> None:
    assert seams("^pin$").redact_url("/?PIN=1&x=2") == "/?PIN=[redacted]&x=2"
    assert seams("").redact_url("/?pin=1") == "/?pin=1"
    assert seams("pin").redact_headers((("X-Pin", "1"),)) == (("X-Pin", "[redacted]"),)
    assert seams("pin").redact_body(b"pin=1", "application/x-www-form-urlencoded") == b"pin=[redacted]"


@pytest.mark.parametrize("alarm", [0, 100])
def test_the_alarm_hears_where_it_is_asked_for(alarm: int) -> None:
    verdicts, heard = listeners(Settings("d", alarm=alarm), lambda line: None, lambda text: None)
    assert heard[0] is verdicts
    assert [type(each) for each in heard[1:]] == [HoldAlarm] * bool(alarm)
    verdicts.close()
