"""`sse-tap record`'s start: what cannot run says so in one line; ports."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from sse_tap.tap.runner import Job, StartFailed, _Log, check_upstreams, listen_no_more, plain, run, with_ports
from sse_tap.tap.spec import parse_tap
from sse_tap.util.ports import free_port


def test_each_tap_of_any_port_gets_one_of_its_own() -> None:
    taps = [parse_tap(f"{name}=0:http://x") for name in "abc"] + [parse_tap("d=8123:http://x")]
    ports = [spec.port for spec in with_ports(taps)]
    assert len(set(ports)) == 4
    assert all(ports)
    assert ports[3] == 8123


def test_a_host_that_is_none_of_this_machines_is_left_for_mitmproxy_to_refuse() -> None:
    assert with_ports([parse_tap("a=192.0.2.1:0:http://x")])[0].port == 0


def test_an_upstream_that_is_not_there_is_told_unless_it_is_a_tap() -> None:
    port, dead = free_port(), free_port()
    chain = [
        parse_tap(f"edge=0:http://localhost:{port}"),
        parse_tap(f"origin={port}:http://127.0.0.1:{dead}"),
    ]
    with pytest.raises(StartFailed, match=rf"tap origin: the upstream http://127.0.0.1:{dead} cannot be"):
        check_upstreams(chain)
    with socket.create_server(("127.0.0.1", dead)):
        check_upstreams(chain)


def job(tmp_path: Path, tap: str, *settings: str) -> Job:
    conf = f"confdir={tmp_path / 'conf'}"
    return Job(taps=[parse_tap(tap)], directory=tmp_path, settings=(conf, *settings), check_upstreams=False)


def test_a_port_that_is_taken_is_told_in_our_words(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartFailed) as raised:
            run(job(tmp_path, f"edge={port}:http://127.0.0.1:1"))
    assert f"cannot listen on 127.0.0.1:{port}: the port is in use" in str(raised.value)


@pytest.mark.parametrize("setting", ["nonsense=1", "tcp_timeout=soon", "sse_tap_redact=("])
def test_a_setting_that_cannot_be_is_told_in_one_line(setting: str, tmp_path: Path) -> None:
    with pytest.raises(StartFailed) as raised:
        run(job(tmp_path, "edge=0:http://127.0.0.1:1", setting))
    assert "\n" not in str(raised.value)


def test_a_folder_that_cannot_be_written_to_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    bad = Job(taps=[parse_tap("edge=0:http://x")], directory=tmp_path / "file", check_upstreams=False)
    with pytest.raises(StartFailed, match=r"cannot record to .*; choose another folder"):
        run(bad)


def test_other_words_of_mitmproxy_are_left_as_they_are_but_for_line_ends() -> None:
    assert plain("something\n went   wrong") == "something went wrong"


def test_at_the_end_only_tcp_listeners_are_closed() -> None:
    """Closing a UDP listener wakes a thread of mitmproxy_rs, which crashes a Python that goes down."""

    class Listener:
        def close(self) -> None:
            raise AssertionError("it was closed")

    async def end() -> bool:
        tcp = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
        servers = [SimpleNamespace(_servers=[tcp, Listener()]), object()]
        listen_no_more(servers)
        return tcp.is_serving()

    assert asyncio.run(end()) is False


def test_a_client_that_does_not_trust_the_tap_is_told_of_once_with_what_it_needs() -> None:
    said: list[str] = []
    log = _Log(lambda text, level: said.append(text))
    text = "Client TLS handshake failed. The client does not trust the proxy's certificate for localhost"
    for _ in range(2):
        log.emit(logging.LogRecord("mitmproxy", logging.WARNING, "", 0, text, None, None))
    assert said == [f"{text}: give it mitmproxy-ca-cert.pem, from ~/.mitmproxy"]
