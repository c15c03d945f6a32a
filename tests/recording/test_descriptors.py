"""Whether descriptors run short, and as many as there may be."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from sse_tap.recording.descriptors import Room, raise_limit


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_is_raised_as_far_as_it_goes(limits: tuple[int, int]) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    raise_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (limits[1], limits[1])


def test_a_quarter_is_left_to_the_streams(limits: tuple[int, int]) -> None:
    assert not Room().is_short()
    used = len(list(Path("/dev/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, limits[1]))
    assert Room().is_short() == ((used + 20) // 4 > 20)
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 4, limits[1]))
    room = Room()
    assert room.is_short()
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert room.is_short(), "it is not counted each time"
