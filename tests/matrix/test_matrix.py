"""The matrix in short: real Caddy and nginx, a dozen telling cells at once. All of it: `make matrix`."""

from __future__ import annotations

import pytest

from tests.matrix import hops, patterns
from tests.matrix.run import Cell, Result, settled
from tests.matrix.table import FLAGGED
from tests.needs import missing

# hop, pattern: what must be found follows from both (`tests/matrix/truth.py`).
TELLING = (
    ("caddy", "chat"),
    ("caddy h2", "1 KB"),
    ("caddy encode gzip", "bursts"),
    ("caddy", "slow client"),
    ("caddy response_buffers 4KiB", "10 ms"),
    ("caddy response_buffers 64KiB", "chat"),
    ("nginx", "comments"),
    ("nginx", "40 KB"),
    ("nginx HTTP/1.0", "100 ms"),
    ("nginx HTTP/1.0, accel no", "random gaps"),
    ("nginx gzip", "comments"),
    ("nginx gzip, buffering off", "1 KB"),
    ("nginx limit_rate 300", "100 ms"),
    ("nginx sub_filter", "250 ms"),
    ("haproxy", "100 ms"),
    ("haproxy", "250 ms"),
    ("haproxy http-no-delay", "slow, small"),
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Result]:
    """Every telling cell whose program is here, all streamed at once."""
    cells = [Cell(hops.BY_NAME[hop], patterns.BY_NAME[pattern]) for hop, pattern in TELLING]
    here = [cell for cell in cells if hops.PROGRAMS[cell.hop.program].here()]
    found = settled(here, tmp_path_factory.mktemp("matrix"))
    return {(result.cell.hop.name, result.cell.pattern.name): result for result in found}


@pytest.mark.parametrize(("hop", "pattern"), TELLING)
def test_the_verdict_is_what_the_proxy_is_known_to_do(
    hop: str, pattern: str, results: dict[tuple[str, str], Result]
) -> None:
    result = results.get((hop, pattern)) or missing(hops.BY_NAME[hop].program)
    assert result.judged, result.error
    assert not result.error
    if result.cell.expected in FLAGGED:
        said = f"{result.judged.hop.why} {result.judged.shape.evidence}"
        assert result.found == result.cell.expected, said
    else:
        # A machine that is busy with other tests may leave it open; it never lets a hop be blamed.
        assert result.found in (result.cell.expected, "inconclusive"), result.judged.shape.evidence
    assert ("headers-withheld" in result.findings) == result.cell.hop.headers_wait


def test_the_holds_found_are_those_of_the_origins_own_clock(
    results: dict[tuple[str, str], Result],
) -> None:
    errors = sorted(error for result in results.values() for error in result.hold_errors)
    assert len(errors) >= 400
    assert errors[len(errors) // 2] < 5
