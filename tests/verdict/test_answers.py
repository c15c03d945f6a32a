"""Whose the answer is."""

from __future__ import annotations

from typing import Any

import pytest

from sse_tap.verdict.answers import own_answer
from tests import build

PAGE = (("content-type", "text/html"),)


def answer(up: dict[str, Any], down: dict[str, Any]) -> str | None:
    """The signature of what the hop answered by itself."""
    found = own_answer(build.trace("origin", [], **up), build.trace("edge", [], **down))
    return found and found.signature


SILENT = {"response_ms": None, "end_ms": 4000, "reason": "client-aborted"}


def test_an_error_page_while_upstream_has_not_answered_is_the_hops_own() -> None:
    assert answer(SILENT, {"response_ms": 4000, "status": 504, "headers": PAGE}) == "error-page"


def test_an_error_page_for_a_client_that_has_left_reaches_nobody() -> None:
    """Caddy writes a 499 onto the connection that its client has closed."""
    left = {"response_ms": 4001, "status": 499, "client_closed_ms": 4000, "end_ms": 4001}
    assert answer(SILENT, left | {"reason": "complete"}) is None
    assert answer(SILENT, left | {"reason": "client-aborted"}) is None


@pytest.mark.parametrize("reason", ["upstream-reset", "complete"])
def test_an_error_page_for_an_upstream_that_failed_tells_the_truth(reason: str) -> None:
    failed = {"response_ms": None, "end_ms": 10, "reason": reason}
    assert answer(failed, {"response_ms": 11, "status": 502, "headers": PAGE}) is None
