"""Parts of multipart bodies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_tap.trace.multipart import boundary_of, parts_of


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=x", b"x"),
        ('multipart/mixed; charset=a; Boundary="a b"', b"a b"),
        ("multipart/form-data", None),
        ("multipart/form-data; xboundary=x", None),
    ],
)
def test_the_boundary_is_the_types(content_type: str, boundary: bytes | None) -> None:
    assert boundary_of(content_type) == boundary


def test_parts_have_names_types_and_contents() -> None:
    body = (
        b'before\r\n--x\r\nContent-Disposition: form-data; filename="n"; name="a\\"b"\r\n\r\n1\r\n2\r\n'
        b"--x \nContent-Type: text/html\nContent-Transfer-Encoding: base64\n\n\n--x--\r\n--x is text"
    )
    first, second = parts_of(body, b"x")
    assert (first.name, first.content_type, first.readable) == ('a\\"b', "text/plain", True)
    assert body[first.content : first.end] == b"1\r\n2"
    assert (second.name, second.content_type, second.readable) == ("", "text/html", False)
    assert body[second.content : second.end] == b""


@given(
    st.lists(st.sampled_from([b"--x", b"--x--", b"\r\n", b"\n", b"a: b", b'Content-Disposition: ;name="']))
)
def test_parts_never_overlap(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    at = 0
    for part in parts_of(body, b"x"):
        assert at <= part.start <= part.content <= part.end <= len(body)
        at = part.end
