"""What a process or a container uses: by psutil and the kernel's files, or by Docker's own API.

Apart from `recording`, which needs no more than mitmproxy brings; loaded only where something is watched.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from sse_tap.recording.watch import Target, WatchError
from sse_tap.trace.records import Sample

DOCKER = "docker:"
_SOCKET = "/var/run/docker.sock"
_PATIENCE = 2.0  # seconds that Docker has for an answer
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_CGROUPS = Path("/sys/fs/cgroup")


def target_of(text: str) -> Target:
    """A PID, or `docker:NAME`. Raises WatchError where there is none, or it cannot be watched."""
    target = _Container(text.removeprefix(DOCKER)) if text.startswith(DOCKER) else _Process(text)
    if target.sample(0).gone:
        raise WatchError(f"{target.name} is not there: name a process or a container that runs")
    return target


class _Process:
    """A process with its children, by psutil; the limit and the throttling are its control group's."""

    def __init__(self, text: str) -> None:
        if not text.isdecimal() or not 0 < int(text) < 1 << 31:
            raise WatchError(f"{text[:60]!a} is neither a process id nor docker:NAME")
        self.name = f"pid {int(text)}"
        with suppress(psutil.Error):
            self._process = psutil.Process(int(text))
            self._process.cpu_times()
            return
        raise WatchError(f"there is no process {int(text)} that can be watched (ps lists them)")

    def sample(self, t: int) -> Sample:
        if not self._process.is_running():  # by its start, too: a process id can come again
            return Sample(t, self.name, gone=True)
        rss, cpu, waited = 0, 0.0, 0
        try:
            family = [self._process, *self._process.children(recursive=True)]
        except psutil.Error:
            return Sample(t, self.name, gone=True)
        for member in family:
            with suppress(psutil.Error), member.oneshot():
                times = member.cpu_times()
                cpu += times.user + times.system
                rss += member.memory_info().rss
                waited += _waited(member.pid)
        limit, throttled = _cgroup(self._process.pid)
        return Sample(t, self.name, rss, int(cpu * 1e9), limit, throttled, waited=waited)


def _waited(pid: int) -> int:
    """Nanoseconds for which a process's threads were ready and had no processor (`schedstat`, proc(5))."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").glob("[0-9]*/schedstat"):
        with suppress(OSError, ValueError, IndexError):
            total += int(thread.read_text("ascii").split()[1])
    return total


def _cgroup(pid: int) -> tuple[int, int]:
    """Bytes that a process may use, and ns for which it was throttled; 0 where that is not known."""
    with suppress(OSError):
        return limits_of(Path(f"/proc/{pid}/cgroup").read_text("ascii", "replace"))
    return 0, 0


def limits_of(groups: str) -> tuple[int, int]:
    """The same of control groups, as `/proc/PID/cgroup` lists them (cgroups(7)): version 2, 1, or both."""
    limits, throttled = [0], 0
    for line in groups.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, inside = rest.partition(":")
        if not inside.startswith("/") or ".." in inside:
            continue
        if not controllers:
            for mount in (_CGROUPS, _CGROUPS / "unified"):
                limits += _limits(mount, inside, "memory.max")
                throttled = throttled or _throttled(mount, inside, "throttled_usec") * 1000
        elif "memory" in controllers.split(","):
            limits += _limits(_CGROUPS / "memory", inside, "memory.limit_in_bytes")
        elif "cpu" in controllers.split(","):
            mounts = (_CGROUPS / "cpu", _CGROUPS / controllers)
            throttled = throttled or max(_throttled(mount, inside, "throttled_time") for mount in mounts)
    return min(filter(None, limits), default=0), throttled


_UNLIMITED = 1 << 60  # bytes: version 1 says so of no limit


def _limits(mount: Path, inside: str, name: str) -> list[int]:
    """The limits of a group and of those that it is in; within a container its own may be the mount's."""
    place, found = mount / inside.lstrip("/"), []
    while True:
        found.append(_number(place / name))
        if place == mount:
            return [limit for limit in found if 0 < limit < _UNLIMITED]
        place = place.parent


def _throttled(mount: Path, inside: str, name: str) -> int:
    for place in (mount / inside.lstrip("/"), mount):
        with suppress(OSError, ValueError):
            fields = dict(line.split() for line in (place / "cpu.stat").read_text("ascii").splitlines())
            return int(fields.get(name, "0"))
    return 0


def _number(file: Path) -> int:
    with suppress(OSError, ValueError):
        return int(file.read_text("ascii"))
    return 0  # "max", or not there


class _Container:
    """A container, by the Docker Engine's own API (`GET /containers/NAME/stats`) over its socket."""

    def __init__(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise WatchError(f"{name[:60]!a} is no name of a container")
        self.name = name
        self._path = _docker_socket(os.environ)
        self._id = ""

    def sample(self, t: int) -> Sample:
        found = self._ask(f"/containers/{quote(self.name)}/stats?stream=false&one-shot=true")
        if found is None:
            return Sample(t, self.name, gone=True)
        now = str(found.get("id", ""))
        if self._id and now != self._id:
            return Sample(t, self.name, gone=True)  # another of its name
        self._id = now
        return container_sample(t, self.name, found)

    def _ask(self, target: str) -> dict[str, Any] | None:
        connection = _UnixConnection("docker", timeout=_PATIENCE)
        connection.path = self._path
        try:
            connection.request("GET", target)
            answer = connection.getresponse()
            data = answer.read(1 << 20)
            if answer.status == 404:
                return None
            found = json.loads(data)
        except (OSError, ValueError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise WatchError(f"Docker does not answer at {self._path}: {why}") from None
        finally:
            connection.close()
        if answer.status != 200 or not isinstance(found, dict):
            raise WatchError(f"Docker says {answer.status} of the container {self.name}")
        return found


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    path = ""

    def connect(self) -> None:
        """As HTTPConnection does, elsewhere."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_PATIENCE)
        self.sock.connect(self.path)


def _docker_socket(environment: Mapping[str, str]) -> str:
    """Where the engine listens: DOCKER_HOST, where that is a Unix socket."""
    host = environment.get("DOCKER_HOST", "")
    return host.removeprefix("unix://") if host.startswith("unix://") else _SOCKET


def container_sample(t: int, name: str, stats: Mapping[str, Any]) -> Sample:
    """A sample out of the engine's statistics; memory as `docker stats` counts it: without the file cache.

    A container that has stopped has no memory there: it is gone.
    """
    memory, cpu = _part(stats, "memory_stats"), _part(stats, "cpu_stats")
    if not memory.get("usage"):
        return Sample(t, name, gone=True)
    cache = _part(memory, "stats").get("inactive_file", 0)
    rss = max(int(memory["usage"]) - int(cache or 0), 0)
    used = _part(cpu, "cpu_usage").get("total_usage", 0)
    throttled = _part(cpu, "throttling_data").get("throttled_time", 0)
    return Sample(t, name, rss, int(used or 0), int(memory.get("limit") or 0), int(throttled or 0))


def _part(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = data.get(key)
    return found if isinstance(found, dict) else {}
