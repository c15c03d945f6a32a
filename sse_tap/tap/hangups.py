"""Tells when a connection whose peer has sent FIN is gone altogether (RST), and costs nothing until then.

asyncio no longer looks at a socket that has reached its end, as that would be readable for ever. The
kernel reports errors and hang-ups all the same to an epoll that asks for no events (epoll_ctl(2)); one
such epoll for all connections is itself a file that the event loop waits for.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from weakref import WeakKeyDictionary, WeakMethod

_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, HangUps] = WeakKeyDictionary()


class HangUps:
    """One for each event loop. Raises OSError or AttributeError where the system has no epoll."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._epoll = select.epoll()
        # By file descriptor; weakly, as a socket that is closed leaves the epoll without a word.
        self._told: dict[int, WeakMethod[Callable[[], None]]] = {}
        loop.add_reader(self._epoll.fileno(), self._look)

    @staticmethod
    def of_running_loop() -> HangUps:
        """That of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in _of_loops:
            _of_loops[loop] = HangUps(loop)
        return _of_loops[loop]

    def watch(self, fd: int, tell: Callable[[], None]) -> None:
        """Call the method `tell` once when this socket has failed or was shut down on both sides."""
        self._told[fd] = WeakMethod(tell)
        try:
            self._epoll.register(fd, select.EPOLLONESHOT)
        except FileExistsError:  # it was told of before
            self._epoll.modify(fd, select.EPOLLONESHOT)

    def _look(self) -> None:
        for fd, _ in self._epoll.poll(0):
            reference = self._told.pop(fd, None)
            if reference and (tell := reference()):
                tell()
