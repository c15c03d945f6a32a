"""The Host of requests: the one change, and that there is no other."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_tap.observe.messages import MAX_HEAD
from sse_tap.tap.hostheader import HostRewriter, authority, names_a_host, same_host

GET = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8443\r\nAccept: */*\r\n\r\n"
TOLD = GET.replace(b"127.0.0.1:8443", b"chat.test:81")
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: chat.test\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"


def rewriter() -> HostRewriter:
    return HostRewriter("chat.test", "chat.test:81")


def through(pieces: Iterable[bytes], by: HostRewriter | None = None) -> bytes:
    by = by or rewriter()
    return b"".join(by.feed(piece) for piece in pieces) + by.flush()


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


SIZED = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 14\r\n\r\nhost: b\r\n\r\nabc"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhost: b\r\n\r\n0\r\n\r\n"

CASES = {
    "the usual": (GET, TOLD),
    "each request of a pipeline": (GET * 3, TOLD * 3),
    "any case, any spacing": (
        b"GET / HTTP/1.1\r\nhOsT:\t a.b \r\n\r\n",
        b"GET / HTTP/1.1\r\nhOsT:\t chat.test:81 \r\n\r\n",
    ),
    "bare line feeds": (b"GET / HTTP/1.1\nHost:a\n\n", b"GET / HTTP/1.1\nHost:chat.test:81\n\n"),
    "after a sized body": (SIZED + GET, SIZED.replace(b"Host: a", b"Host: chat.test:81") + TOLD),
    "after a chunked body": (CHUNKED + GET, CHUNKED.replace(b"Host: a", b"Host: chat.test:81") + TOLD),
    "after an empty line": (b"\r\n" + GET, b"\r\n" + TOLD),
}
UNTOUCHED = {
    "the upstream's own name, whatever the port": b"GET / HTTP/1.1\r\nHost: CHAT.test:99\r\n\r\n",
    "no value": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "other names": b"GET / HTTP/1.1\r\nHost: chat.test\r\nX-Host: b\r\nHos: c\r\nHost-Id: d\r\n\r\n",
    "a request line that looks like one": b"host: a\r\nHo",
    "a folded line": b"GET / HTTP/1.1\r\nHost: chat.test\r\nX: 1\r\n host: b\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nhost: a\r\nhost: b\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\nhost",
    "a broken chunk": CHUNKED.replace(b"Host: a", b"Host: chat.test").replace(b"9\r", b"x\r")
    + b"Host: b\n\n",
    "what follows a broken head": b"GET\r\n\r\nGET /\r\nhost: b\r\n\r\n",
    "a head that ends in mid-line": b"GET / HTTP/1.1\r\nHost: chat",
}


@pytest.mark.parametrize(("sent", "told"), CASES.values(), ids=CASES.keys())
def test_host_lines_of_heads_are_rewritten_and_nothing_else_at_any_cut(sent: bytes, told: bytes) -> None:
    assert through([sent]) == told
    assert through(bytewise(sent)) == told
    for at in range(len(sent)):
        assert through([sent[:at], sent[at:]]) == told, f"cut at {at}"


@pytest.mark.parametrize("sent", UNTOUCHED.values(), ids=UNTOUCHED.keys())
def test_all_else_passes_untouched_at_any_cut(sent: bytes) -> None:
    assert through([sent]) == through(bytewise(sent)) == sent


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"\r\n", b"host:", b"H", b"GET / HTTP/1.1\r\n"])))
@settings(max_examples=300)
def test_garbage_loses_no_byte_and_never_raises(pieces: list[bytes]) -> None:
    sent, out = b"".join(pieces).split(b"\n"), through(pieces).split(b"\n")
    for before, after in zip(sent, out, strict=True):
        value = before[5:].strip()
        told = before[:5] + before[5:].replace(value, b"chat.test:81", 1)
        assert after == before or (before[:5].lower() == b"host:" and value and after == told)


def test_only_an_unfinished_host_line_waits() -> None:
    by = rewriter()
    assert by.feed(b"GE") == b"GE"
    assert by.feed(b"T / HTTP/1.1\r\nAcc") == b"T / HTTP/1.1\r\nAcc"
    assert by.feed(b"ept: x\r\nH") == b"ept: x\r\n"
    assert by.feed(b"ost") == b""
    assert by.feed(b"ile: x") == b"Hostile: x"
    assert by.feed(b"\r\nHost: 127.0.0.1") == b"\r\n"
    assert by.feed(b":8443\r\n\r") == b"Host: chat.test:81\r\n\r"
    assert by.feed(b"\n") == b"\n"


def test_a_host_line_that_never_ends_is_let_go() -> None:
    by = rewriter()
    sent = b"GET / HTTP/1.1\r\nHost: " + b"x" * 9000
    assert by.feed(sent) == sent
    assert by.feed(b"y\r\n") == b"y\r\n"


def test_what_waits_goes_out_when_the_client_ends() -> None:
    by = rewriter()
    assert by.feed(b"GET / HTTP/1.1\r\nHos") + by.flush() + by.flush() == b"GET / HTTP/1.1\r\nHos"


def test_bodies_are_not_held_back() -> None:
    by = rewriter()
    by.feed(b"POST / HTTP/1.1\r\nHost: chat.test\r\nContent-Length: 100\r\n\r\n")
    assert by.feed(b"\nhost") == b"\nhost"


@pytest.mark.parametrize("cut", range(1, 14))
def test_after_an_upgrade_nothing_is_looked_at(cut: int) -> None:
    by = rewriter()
    by.feed(UPGRADE)
    by.saw_response(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
    by.saw_response(SWITCH[:cut])
    by.saw_response(SWITCH[cut:])
    assert by.feed(b"a\r\nhost: b\r\nho") == b"a\r\nhost: b\r\nho"


def test_a_refused_upgrade_leaves_all_as_it_was() -> None:
    by = rewriter()
    by.feed(UPGRADE)
    by.saw_response(b"HTTP/1.1 200 OK\r\n")
    by.saw_response(SWITCH)  # in a body
    assert by.feed(GET) == TOLD


def test_after_an_answered_connect_nothing_is_looked_at() -> None:
    by = rewriter()
    by.feed(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")
    by.saw_response(b"HTTP/1.1 200 OK\r\n\r\n")
    assert by.feed(GET) == GET


def test_a_head_past_any_bound_is_passed_on_without_being_kept() -> None:
    by = rewriter()
    line = b"X: " + b"y" * 4093 + b"\r\n"
    by.feed(b"GET / HTTP/1.1\r\n")
    for _ in range(MAX_HEAD // len(line) + 2):
        assert by.feed(line) == line
    assert by.feed(b"Host: a\r\n\r\n") == b"Host: a\r\n\r\n"


@pytest.mark.parametrize(
    ("host", "named"), [("chat.test", True), ("localhost", True), ("127.0.0.1", False), ("[::1]", False)]
)
def test_an_address_is_no_name(host: str, named: bool) -> None:
    assert names_a_host(host) is named


def test_the_usual_port_is_left_out() -> None:
    assert authority("chat.test", 443, "https") == "chat.test"
    assert authority("chat.test", 443, "http") == "chat.test:443"
    assert authority("chat.test", 80, "http") == "chat.test"


@pytest.mark.parametrize("value", ["chat.test", "CHAT.TEST:1", " chat.test "])
def test_a_host_is_the_same_whatever_case_and_port(value: str) -> None:
    assert same_host(value, "Chat.test")
    assert not same_host(value + "x", "chat.test")


def test_ipv6_hosts_are_compared_without_brackets() -> None:
    assert same_host("[::1]:80", "::1")
    assert same_host("[::1]", "::1")
    assert not same_host("[::2]", "::1")


INJECTED = b"traceparent: 00-a-b-01\r\n"


def injecting(data: bytes, cut: int = 0) -> bytes:
    """What comes out for `data`, given in two parts."""
    rewriter = HostRewriter("", "", lambda: INJECTED)
    return rewriter.feed(data[:cut]) + rewriter.feed(data[cut:])


@pytest.mark.parametrize("cut", range(60))
def test_an_injected_line_ends_each_head_and_nothing_else_changes(cut: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n"
    body = b"\r\n\r\nab"
    data = (head + b"\r\n" + body) * 2
    assert injecting(data, cut) == (head + INJECTED + b"\r\n" + body) * 2


@pytest.mark.parametrize("cut", range(50))
def test_a_head_that_has_the_field_is_left_alone(cut: int) -> None:
    data = b"GET / HTTP/1.1\r\nHost: a\r\nTraceParent: 00-x-y-01\r\n\r\n"
    assert injecting(data, cut) == data


AMBIGUOUS = {
    "two lengths": b"Content-Length: 3\r\nContent-Length: 4\r\n",
    "no number": b"Content-Length: +3\r\n",
    "a number past any body": b"Content-Length: " + b"9" * 30 + b"\r\n",
    "two codings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "a coding that is not known": b"Transfer-Encoding: gzip, chunked\r\n",
    "a folded length": b"Content-Length:\r\n 3\r\n",
    "a space before the colon": b"Content-Length : 3\r\n",
}


@pytest.mark.parametrize("fields", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_behind_a_body_whose_end_could_be_read_in_two_ways_nothing_changes(fields: bytes) -> None:
    sent = b"POST / HTTP/1.1\r\nHost: chat.test\r\n" + fields + b"\r\n" + GET
    assert through([sent]) == through(bytewise(sent)) == sent


def test_the_same_length_twice_is_one() -> None:
    sent = SIZED.replace(b"Content", b"Content-Length: 14\r\nContent")
    assert through([sent + GET]) == sent.replace(b"Host: a", b"Host: chat.test:81") + TOLD


def test_a_head_past_any_bound_is_said_once() -> None:
    by = rewriter()
    by.feed(b"GET / HTTP/1.1\r\nX: " + b"y" * (MAX_HEAD - 100))
    assert by.gave_up == ""
    by.feed(b"y" * 200)
    assert "longer than 1 MiB" in by.gave_up


def test_what_a_head_costs_grows_with_its_bytes_alone() -> None:
    def seconds(size: int) -> float:
        by = rewriter()
        began = time.thread_time()
        for piece in bytewise(b"GET / HTTP/1.1\r\nX: " + b"y" * size):
            by.feed(piece)
        return time.thread_time() - began

    assert seconds(240_000) < 20 * seconds(30_000)


def test_many_requests_in_one_read_cost_little() -> None:
    by = rewriter()
    flood = b"GET / HTTP/1.1\r\nHost: chat.test\r\n\r\n" * 1800  # 64 KiB
    began = time.thread_time()
    assert by.feed(flood) == flood
    assert time.thread_time() - began < 0.06  # h11 took longer than that for half of them
