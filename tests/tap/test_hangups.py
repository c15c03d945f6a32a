"""Half-closed sockets: told of once when they fail, and of nothing else."""

from __future__ import annotations

import asyncio
import socket
import struct

from sse_tap.tap.hangups import HangUps


class Told:
    """Counts how often it was told."""

    times = 0

    def tell(self) -> None:
        self.times += 1


def _pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        return ours, server.accept()[0]


def _reset(theirs: socket.socket) -> None:
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()


async def _rest() -> None:
    await asyncio.sleep(0.05)


def test_a_reset_is_told_once_and_bytes_and_a_fin_are_not() -> None:
    async def scene() -> list[int]:
        ours, theirs = _pair()
        told = Told()
        HangUps.of_running_loop().watch(ours.fileno(), told.tell)
        theirs.sendall(b"x")
        theirs.shutdown(socket.SHUT_WR)
        await _rest()
        counts = [told.times]
        _reset(theirs)
        await _rest()
        ours.close()
        return [*counts, told.times]

    assert asyncio.run(scene()) == [0, 1]


def test_a_descriptor_may_be_watched_again_and_its_number_may_come_back() -> None:
    async def scene() -> list[int]:
        ups = HangUps.of_running_loop()
        assert ups is HangUps.of_running_loop()
        first, second = Told(), Told()
        ours, theirs = _pair()
        ups.watch(ours.fileno(), first.tell)
        ups.watch(ours.fileno(), second.tell)
        _reset(theirs)
        await _rest()
        ours.close()
        again, theirs = _pair()
        ups.watch(again.fileno(), first.tell)
        _reset(theirs)
        await _rest()
        again.close()
        return [first.times, second.times]

    assert asyncio.run(scene()) == [1, 1]


def test_who_is_no_longer_there_is_not_told() -> None:
    async def scene() -> None:
        ours, theirs = _pair()
        HangUps.of_running_loop().watch(ours.fileno(), Told().tell)
        _reset(theirs)
        await _rest()
        ours.close()

    asyncio.run(scene())
