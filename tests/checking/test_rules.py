"""Rules from a TOML file."""

from __future__ import annotations

import pytest

from sse_tap.checking.rules import Expectation, Rule, expectation, rules_of
from sse_tap.checking.values import EVERY, Count, pattern


def test_a_table_is_a_rule() -> None:
    [rule] = rules_of(
        '[[expect]]\nname = "live"\nstream = "GET /test/*"\ntap = "edge"\nevents = 10\nincremental = true\n'
        'no-errors = false\nmax-ttft = "2s"\ncomment = ["a", "b"]\nverdict = ["clean", "slow-client"]'
    )
    assert (rule.name, rule.pattern, rule.tap) == ("live", pattern("GET /test/*"), "edge")
    found = [str(one) for one in rule.expectations]
    assert found == [
        "events 10",
        "incremental",
        "max-ttft 2s",
        "comment a",
        "comment b",
        "verdict clean,slow-client",
    ]
    assert rule.expectations[0].value == Count("=", 10)


def test_titles() -> None:
    assert Rule(()).title == "every stream"
    assert Rule((), EVERY, "edge").title == "every stream at edge"
    assert Rule((), pattern("POST /a"), "edge").title == "POST /a at edge"
    assert Rule((), pattern("POST /a"), "", "mine").title == "mine"


def test_an_expectation_knows_its_kind() -> None:
    assert expectation("events", "3").kind.metavar == "N"
    assert expectation("incremental") == Expectation("incremental")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x", "it is no TOML: "),
        ("", r"it has no \[\[expect\]\] table"),
        ("expects = 1", r"unknown key expects, did you mean expect\?"),
        ("expect = 1", "rules are tables"),
        ("[[expect]]", r"\[\[expect\]\] 1: nothing is expected"),
        ("[[expect]]\nincremental = false", "nothing is expected"),
        (
            "[[expect]]\nevents = 1\n[[expect]]\nmax_ttft = '1s'",
            r"expect\]\] 2: unknown key max_ttft, did you mean max-ttft",
        ),
        ("[[expect]]\nmax-ttft = 2", 'max-ttft: "2" is no length of time'),
        ("[[expect]]\nmax-ttft = 2.5", "max-ttft: a text in quotes"),
        ("[[expect]]\nmax-ttft = true", "max-ttft: a text in quotes"),
        ("[[expect]]\ncomment = []", "comment: a text in quotes"),
        ("[[expect]]\nincremental = 'yes'", "incremental: true or false"),
        ("[[expect]]\nevents = 1\nstream = 'chat'", 'stream|"chat" says no streams'),
        ("[[expect]]\nevents = 1\ntap = 3", "tap: a text in quotes"),
        ("[[expect]]\nevents = 1\nname = ''", "name: it is empty"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        rules_of(text)
    assert "\n" not in str(error.value)
