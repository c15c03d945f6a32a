"""Logs of curl: one it writes now, and made-up ones."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sse_tap.importing import CannotImport, Found
from sse_tap.importing.curllog import read
from sse_tap.replay import Replay
from tests.build import SSE, event, trace
from tests.needs import needs
from tests.replay.talk import thrice

DAY = datetime(2026, 11, 22, 23, 0, tzinfo=UTC)
CHUNKED = (*SSE, ("transfer-encoding", "chunked"))
PIECES = [(10.0, event("a")), (10.0, event("b")), (60.0, "data: ✓\n\n".encode())]


def entry(t: str, kind: str, data: bytes = b"", text: str = "") -> str:
    if kind == "Info":
        return f"{t} == Info: {text}\n"
    arrow = "=>" if kind.startswith("Send") else "<="
    lines = [f"{t} {arrow} {kind}, {len(data)} bytes (0x{len(data):x})\n"]
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{start:04x}: {''.join(f'{byte:02x} ' for byte in row):48}{shown}\n")
    return "".join(lines)


def in_ascii(t: str, kind: str, data: bytes) -> str:
    """As `--trace-ascii` writes it, which begins a line at each CRLF."""
    lines, at = [f"{t} {'=>' if kind.startswith('Send') else '<='} {kind}, {len(data)} bytes (0x0)\n"], 0
    for row in data.removesuffix(b"\r\n").split(b"\r\n"):
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:04x}: {shown}\n")
        at += len(row) + 2
    return "".join(lines)


def log(*entries: str) -> bytes:
    return "".join(entries).encode()


def one(data: bytes, day: datetime = DAY) -> Found:
    [found] = read(data, day)
    return found


REQUEST = entry("23:59:59.900000", "Send header", b"GET /chat HTTP/1.1\r\nHost: h:81\r\nAccept: */*\r\n\r\n")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"


@needs(shutil.which("curl"), "curl")
@pytest.mark.parametrize("options", [[], ["--http2-prior-knowledge"]])
@thrice
def test_what_curl_logs_is_what_was_sent(options: list[str], tmp_path: Path) -> None:
    file = tmp_path / "log"
    with Replay(trace("edge", PIECES, headers=CHUNKED, method="GET", body=b"")) as server:
        command = [
            "curl",
            "-sN",
            *options,
            "--trace-time",
            "--trace",
            str(file),
            "-o",
            "/dev/null",
            server.url,
        ]
        subprocess.run(command, check=True, timeout=20)
    found = one(file.read_bytes(), datetime.now(UTC).astimezone())
    assert (found.status, found.url, found.end) == (200, server.url, "complete")
    assert b"".join(data for _, _, data in found.pieces) == b"".join(data for _, data in PIECES)
    times = {number: t / 1e6 for t, number, _ in found.pieces}
    assert len(times) == 2, "curl read both at once"
    early, late = sorted(times.values())
    # The replay is never early, though curl may stamp the request after it was taken; a busy machine is late.
    assert 5 <= early < late
    assert 55 <= late < 1000
    if not options:
        assert [data for _, _, data in found.pieces] == [data for _, data in PIECES]
    assert abs(datetime.now(UTC) - found.started).total_seconds() < 60


@needs(shutil.which("curl"), "curl")
def test_a_reset_is_one(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with Replay(
        trace("edge", PIECES, headers=CHUNKED, method="GET", body=b""), faults=["reset=#2"]
    ) as server:
        command = ["curl", "-sN", "--trace-time", "--trace", str(file), "-o", "/dev/null", server.url]
        assert subprocess.run(command, check=False, timeout=20).returncode
    assert one(file.read_bytes()).end == "upstream-reset"


@needs(shutil.which("curl"), "curl")
@pytest.mark.parametrize("options", [[], ["--http2-prior-knowledge"]])
def test_trace_ascii_is_read_but_for_what_is_not_ascii(options: list[str], tmp_path: Path) -> None:
    blocks = [event('{"a": "v. 1.0..."}'), b": keepalive\n\n", b"id: 1\r\nevent: e\r\n", b"data: x..\r\n\r\n"]
    pieces = [
        (60.0 * number, block) for number, block in enumerate([*blocks, b"data: " + b"y" * 99 + b"\n\n"])
    ]
    file = tmp_path / "log"
    with Replay(trace("edge", pieces, headers=CHUNKED, method="GET", body=b"")) as server:
        command = ["curl", "-sN", *options, "--trace-time", "--trace-ascii", str(file), server.url]
        subprocess.run(command, check=True, timeout=20, stdout=subprocess.DEVNULL)
    found = one(file.read_bytes())
    assert (found.status, found.url, found.end) == (200, server.url, "complete")
    assert b"".join(data for _, _, data in found.pieces) == b"".join(data for _, data in pieces)
    assert len({number for _, number, _ in found.pieces}) > 2
    assert "guessed" in found.notes[0]


def test_what_trace_ascii_lost_is_a_dot() -> None:
    """Two line ends are guessed where the text before one ended with a dot."""
    body = 'data: {"a": "é"}\n\ndata: ü.\ndata: b\n\n'.encode()
    data = log(
        in_ascii("23:59:59.900000", "Send header", b"GET /chat HTTP/1.1\r\nHost: h:81\r\n\r\n"),
        in_ascii("23:59:59.950000", "Recv header", HEAD + b"\r\n"),
        in_ascii("23:59:59.960000", "Recv data", body),
    )
    assert [piece for _, _, piece in one(data).pieces] == [b'data: {"a": ".."}\n\ndata: ..\n\ndata: b\n\n']


@pytest.mark.parametrize("time", ["", "16:46:54.244202 ", "16:46:54.244202 [0-0] "])
def test_what_curl_says_is_no_record(time: str) -> None:
    lines = ["*   Trying 127.0.0.1:80...", "> GET / HTTP/1.1", "< HTTP/1.1 200 OK", "{ [89 bytes data]"]
    with pytest.raises(CannotImport, match="curl -v says, without the body"):
        read("".join(f"{time}{line}\n" for line in lines).encode(), DAY)


def test_trace_ids_are_passed_over() -> None:
    data = log(REQUEST, entry("23:59:59.950000", "Recv header", HEAD + b"\r\n"))
    assert one(data.replace(b"000 => ", b"000 [0-0] => ").replace(b"000 <= ", b"000 [0-0] <= ")).status == 200


def test_midnight_is_no_step_back() -> None:
    data = log(
        REQUEST,
        *(entry("23:59:59.950000", "Recv header", line + b"\r\n") for line in HEAD.split(b"\r\n")[:-1]),
        entry("23:59:59.950000", "Recv header", b"\r\n"),
        entry("00:00:00.100000", "Recv data", b"9\r\ndata: a\n\n\r\n"),
        entry("00:00:01.000000", "Recv data", b"0\r\n\r\n"),
    )
    found = one(data)
    assert [(t / 1e6, piece) for t, _, piece in found.pieces] == [(200.0, b"data: a\n\n")]
    assert found.started == datetime(2026, 11, 22, 23, 59, 59, 900_000, tzinfo=UTC)


def test_the_servers_date_tells_the_day() -> None:
    head = HEAD + b"Date: Mon, 02 Mar 2026 00:00:00 GMT\r\n\r\n"
    found = one(log(REQUEST, entry("23:59:59.950000", "Recv header", head)))
    assert found.started == datetime(2026, 3, 1, 23, 59, 59, 900_000, tzinfo=UTC)


def test_a_body_that_is_logged_without_its_framing() -> None:
    """As curl 8 does."""
    data = log(
        REQUEST,
        entry("23:59:59.950000", "Recv header", HEAD + b"\r\n"),
        entry("23:59:59.960000", "Recv data", b"data: a\n\n"),
    )
    assert [piece for _, _, piece in one(data).pieces] == [b"data: a\n\n"]


def test_informational_responses_and_redirects_are_passed() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
    again = entry("23:59:59.970000", "Send header", b"GET /b HTTP/1.1\r\nHost: h:81\r\n\r\n")
    early = entry("23:59:59.975000", "Recv header", b"HTTP/1.1 103 Early Hints\r\n") + entry(
        "23:59:59.976000", "Recv header", b"\r\n"
    )
    data = log(REQUEST, entry("23:59:59.950000", "Recv header", moved), again, early)
    data += entry("23:59:59.980000", "Recv header", HEAD + b"\r\n").encode()
    assert [(found.status, found.url) for found in read(data, DAY)] == [
        (302, "http://h:81/chat"),
        (200, "http://h:81/b"),
    ]


def test_a_request_body_and_https() -> None:
    data = log(
        entry("10:00:00.000000", "Info", text="  TLSv1.3 (OUT), TLS handshake"),
        entry(
            "10:00:01.000000",
            "Send header",
            b"POST /c HTTP/2\r\nHost: h\r\ncontent-type: application/json\r\n\r\n",
        ),
        entry("10:00:01.000100", "Send data", b'{"a":'),
        entry("10:00:01.000200", "Send data", b"1}"),
        entry("10:00:01.100000", "Recv header", b"HTTP/2 200 \r\ncontent-type: text/event-stream\r\n\r\n"),
    )
    found = one(data)
    assert (found.body, found.url, found.http_version) == (b'{"a":1}', "https://h/c", "HTTP/2.0")
    assert found.end is None


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"hello\n",
        b"\x00\xff" * 99,
        REQUEST.replace("23:59:59.900000 ", "").encode(),
        b"10:00:00.000000 => Send header, 19 bytes (0x13)\n0000: GET / HTTP/1.1\n0010: \n",
        b"10:00:00.000000 => Send header, 999999999999999 bytes (0x12)\n0000: 0d 0a\n",
        log(REQUEST, entry("23:59:59.9", "Recv header", b"HTTP/9\r\n\r\n")),
        log(
            REQUEST,
            entry("23:59:59.9", "Recv header", HEAD + b"\r\n"),
            entry("23:59:59.9", "Recv data", b"5\r\nabcdefgh"),
            entry("23:59:59.9", "Recv data", b"ijk"),
        ),
    ],
)
def test_what_is_no_such_log_is_refused_in_one_line(wrong: bytes) -> None:
    with pytest.raises(CannotImport) as refused:
        read(wrong, DAY)
    assert "\n" not in str(refused.value)


def test_a_log_cut_off_anywhere_holds_what_came_before() -> None:
    """curl was killed, or still writes: its last entry is not whole, or the stream did not end."""
    pieces = [b"data: %d\n\n" % number for number in range(3)]
    before = log(REQUEST, entry("23:59:59.950000", "Recv header", HEAD + b"\r\n"))
    whole = before + log(*(entry("23:59:59.960000", "Recv data", piece) for piece in pieces))
    for size in range(len(before), len(whole)):
        found = one(whole[:size])
        assert [piece for _, _, piece in found.pieces] == pieces[: len(found.pieces)]
        assert found.end is None
    assert len(one(whole).pieces) == 3
