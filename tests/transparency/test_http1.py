"""The same exchange over HTTP/1, directly and through a wire tap: what either side sees is the same."""

from __future__ import annotations

import statistics
import time

import pytest

from tests.replay.talk import thrice
from tests.transparency.exchanges import EVENTS, HTTP1, NO_HTTP
from tests.transparency.peers import Exchange, Origin, Outcome, connect, run
from tests.transparency.taps import Taps

pytestmark = pytest.mark.quick

LATE = 0.3
"""Seconds by which a close may come later through a tap: it takes 1 ms, on a busy machine more."""


def same(exchange: Exchange, direct: Outcome, tapped: Outcome) -> None:
    assert direct.failures == (), "the exchange does not even work directly"
    assert tapped.failures == ()
    if exchange.exact:
        assert tapped == direct
    else:
        assert tapped.client.ended == direct.client.ended
        assert [half.ended for half in tapped.servers] == [half.ended for half in direct.servers]


def at(tap: str, exchanges: list[Exchange]) -> list[object]:
    return [pytest.param(tap, exchange, id=f"{tap}: {exchange.name}") for exchange in exchanges]


@pytest.mark.parametrize(("tap", "exchange"), at("plain", HTTP1 + NO_HTTP) + at("tcp", HTTP1[:2] + NO_HTTP))
def test_both_sides_see_the_same_bytes_and_the_same_end(
    tap: str, exchange: Exchange, origin: Origin, taps: Taps
) -> None:
    direct = run(exchange, origin, lambda: connect(origin.address))
    tapped = run(exchange, origin, lambda: connect(taps.address(tap)))
    same(exchange, direct, tapped)


def exchange_named(name: str) -> Exchange:
    return next(exchange for exchange in HTTP1 if exchange.name.startswith(name))


@thrice
def test_reads_and_the_pauses_between_them_are_kept(origin: Origin, taps: Taps) -> None:
    outcome = run(exchange_named("live"), origin, lambda: connect(taps.address("plain")))
    pauses = outcome.client.pauses
    assert len(EVENTS) - 2 <= len(pauses) <= len(EVENTS) + 2  # a busy machine may join two
    assert statistics.median(pauses) == pytest.approx(30, abs=25)


@pytest.mark.parametrize("name", ["client aborts", "client leaves"])
def test_a_client_that_goes_away_is_known_upstream_as_soon_as_without_the_tap(
    name: str, origin: Origin, taps: Taps
) -> None:
    delays = []
    for address in (origin.address, taps.address("plain")):
        outcome = run(exchange_named(name), origin, lambda to=address: connect(to))  # type: ignore[misc]
        (server,) = outcome.servers
        assert server.failed_at, "the server never knew"
        delays.append(server.failed_at - outcome.client.closed_at)
    assert delays[1] < delays[0] + LATE


def test_a_reset_reaches_the_client_as_a_reset_and_at_once(origin: Origin, taps: Taps) -> None:
    outcome = run(exchange_named("server resets"), origin, lambda: connect(taps.address("plain")))
    (server,) = outcome.servers
    assert outcome.client.ended == "reset"
    assert outcome.client.ended_at - server.closed_at < LATE


def test_an_idle_connection_is_closed_when_the_server_closes_it(origin: Origin, taps: Taps) -> None:
    outcome = run(exchange_named("server closes an idle"), origin, lambda: connect(taps.address("plain")))
    (server,) = outcome.servers
    assert outcome.client.ended == "eof"
    assert outcome.client.ended_at - server.closed_at < LATE


def test_a_connection_is_there_from_the_start_and_goes_with_its_client(origin: Origin, taps: Taps) -> None:
    """A client that only connects, and leaves again: the server sees just that."""
    play = origin.play(lambda wire: (wire.to_end(), None)[-1])
    client = connect(taps.address("plain"))
    deadline = time.monotonic() + 5
    while not play.wires and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(play.wires) == 1
    assert not play.wires[0].ended
    client.close()
    play.finish()
    assert play.wires[0].ended == "eof"
