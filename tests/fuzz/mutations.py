"""Good bytes made bad: cut, flipped, doubled, spliced, with numbers and words that have broken programs."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

NASTY = (
    *(b"", b"\0", b"\xff", b"\xed\xa0\x80", b"\r", b"\n", b"\r\n\r\n", b'"', b"\\", b"{", b"}", b"[", b"]"),
    *(b"-1", b"0", b"1e999", b"NaN", b"Infinity", b"9" * 400, b"9223372036854775808", b"true", b"null"),
    *(
        b'""',
        b"[]",
        b"{}",
        b'[""]',
        b"\xef\xbb\xbf",
        b"\x1b[2J",
        b"9999-12-31T23:59:59-14:00",
        b"%ff",
        b"://[",
    ),
    *(b"0001-01-01T00:00:00+14:00", b"\\ud800", b'"\\ud800"', b"chunked", b"gzip", b"1.5", b"-", b"@"),
)
_AT = st.integers(0, 1 << 20)
_CHANGE = st.tuples(
    st.sampled_from(["cut", "put", "over", "twice", "flip", "swap"]), _AT, _AT, st.sampled_from(NASTY)
)


def mutated(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the seeds with up to six changes, or anything at all."""
    changes = st.lists(_CHANGE, max_size=6)
    return st.builds(_changed, st.sampled_from(seeds), changes) | st.binary(max_size=200)


def _changed(data: bytes, changes: list[tuple[str, int, int, bytes]]) -> bytes:
    for kind, at, length, nasty in changes:
        start = at % (len(data) + 1)
        end = min(len(data), start + length % 24)
        data = _CHANGES[kind](data, start, end, nasty)
    return data


_CHANGES = {
    "cut": lambda data, start, end, nasty: data[:start] + data[end:],
    "put": lambda data, start, end, nasty: data[:start] + nasty + data[start:],
    "over": lambda data, start, end, nasty: data[:start] + nasty + data[end:],
    "twice": lambda data, start, end, nasty: data[:end] + data[start:],
    "flip": lambda data, start, end, nasty: (
        data[:start] + bytes(b ^ 1 << end % 8 for b in data[start : start + 1]) + data[start + 1 :]
    ),
    "swap": lambda data, start, end, nasty: data[end:] + data[:start],
}
