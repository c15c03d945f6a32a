"""The scenes in short: the most telling ones with real programs. All of them: `make matrix`."""

from __future__ import annotations

import os

import pytest

from tests.matrix import programs
from tests.matrix.acts import BY_NAME, Played
from tests.matrix.client import Heard
from tests.matrix.scene_programs import SCENE_PROGRAMS
from tests.matrix.scene_run import Row, settled
from tests.matrix.scene_truth import Happened, changed, ended, queued, same, told_late
from tests.matrix.scenes import DEAD, SCENES, Scene
from tests.needs import missing

BY_KIND = {(scene.kind, scene.name): scene for scene in SCENES}
TELLING = (
    ("cut-idle", "caddy read_timeout"),
    ("cut-idle", "caddy read_timeout, pings"),
    ("cut-together", "haproxy hard-stop-after"),
    ("hidden", "http-proxy, upstream resets"),
    ("mended", "nginx by close, reset"),
    ("mended", "caddy passes a reset"),
    ("abort", "caddy, in a silence"),
    ("abort", "haproxy"),
    ("answers", "nginx 504"),
    ("answers", "caddy, 401"),
    ("request-held", "haproxy maxconn 1"),
    ("request-held", "haproxy"),
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[Row]]:
    """Every telling scene whose program is here, all at once; the rows of each."""
    if os.environ.get("SSE_TAP_CI"):
        programs.install(["npm"])
    scenes = [BY_KIND[key] for key in TELLING]
    here = [scene for scene in scenes if SCENE_PROGRAMS[scene.program].here()]
    found: dict[tuple[str, str], list[Row]] = {}
    for row in settled(here, tmp_path_factory.mktemp("scenes")):
        found.setdefault((row.scene.kind, row.scene.name), []).append(row)
    return found


@pytest.mark.parametrize("key", TELLING, ids=" / ".join)
def test_what_the_hop_did_is_told(key: tuple[str, str], rows: dict[tuple[str, str], list[Row]]) -> None:
    for row in rows.get(key) or missing(BY_KIND[key].program):
        said = row.judged.shape.evidence if row.judged else ""
        if row.expected.blames:
            assert not row.void, f"it did not happen: {row.void}"
            assert row.right, f"{row.verdict} {said}"
        else:
            # A machine that is busy with other tests may leave it open; it never lets a hop be blamed.
            assert not row.blames, said
            assert row.right or row.void or row.verdict == "inconclusive", said


# --- the table, on paper -----------------------------------------------------------------------------


def test_every_scene_has_a_name_of_its_own_an_act_and_a_program() -> None:
    assert len(BY_KIND) == len(SCENES)
    for scene in SCENES:
        assert scene.act in (*BY_NAME, DEAD)
        assert scene.program in SCENE_PROGRAMS
        assert scene.checks


def test_every_kind_has_a_healthy_counterpart() -> None:
    kinds = {scene.kind for scene in SCENES}
    assert kinds == {scene.kind for scene in SCENES if not _guilty(scene)}


def _guilty(scene: Scene) -> bool:
    return all(expect.blames for expect in scene.expect)


SECOND = 1_000_000_000


def happened(number: int = 0, body: bytes = b"", **played: object) -> Happened:
    """A stream whose client asked at 0 s and left at 2 s."""
    heard = Heard(pieces=[body], end="left", over=2 * SECOND)
    given = {"cell": "", "request": 0, "end": "left", "over": 2 * SECOND} | played
    return Happened(number, BY_NAME["steady"], Played(**given), heard)  # type: ignore[arg-type]


def test_checks_say_what_did_not_happen() -> None:
    assert ended("left", "left")(happened()) == ""
    assert "not ('well', 'left')" in ended("well", "left")(happened())
    assert told_late(1)(happened(over=3 * SECOND)) == ""
    assert told_late(1)(happened()) == "the origin was told after 0.00 s"
    assert queued(1, False, True)(happened(1, request=SECOND)) == ""
    assert queued(1, False, True)(happened(0, request=SECOND)) == "the origin was asked after 1.00 s"


@pytest.mark.parametrize(
    ("before", "after", "alike"),
    [
        (b"", b"", True),
        (b"\n", b"\r\n", True),
        (b"data: ", b"data:", True),
        (b"data: ", b": a comment\n\nevent: message\ndata: ", True),
        (b"data: ", b"event: token\ndata: ", False),
        (b'"text"', b'"txt"', False),
    ],
)
def test_what_a_client_parses_is_compared(before: bytes, after: bytes, alike: bool) -> None:
    body = b"".join(BY_NAME["steady"].blocks)
    it = happened(body=body.replace(before, after) if before else body)
    assert (same(it) == "") is alike
    assert (changed(it) == "") is not alike
