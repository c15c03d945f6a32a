"""Free TCP ports, found so that two who ask at once are not given the same one."""

from __future__ import annotations

import errno
import random
import socket

# Below the ports that systems give to clients' connections (Linux from 32768, IANA from 49152): such a
# connection may take a port between the moment it is found free and the moment somebody listens there.
_PORTS = range(10_000, 32_768)
_TRIES = 1_000
_given: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """A port of `host` that nothing listens on now, never the same twice in one process.

    Raises OSError where `host` is not an address of this machine, or no port of it is free.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(_TRIES):
        port = random.choice(_PORTS)
        if port not in _given and _is_free(family, host, port):
            _given.add(port)
            return port
    raise OSError(errno.EADDRINUSE, "no free port found")


def _is_free(family: socket.AddressFamily, host: str, port: int) -> bool:
    with socket.socket(family) as probe:
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True
