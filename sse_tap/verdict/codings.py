"""Content codings that do not fit their header: found by trying the other side's."""

from __future__ import annotations

from sse_tap.blocks.decoding import Decoder
from sse_tap.blocks.timing import Seen
from sse_tap.pairing.alignment import common_prefix

_ENOUGH = 32  # bytes that must be the same, where there are as many: no accident


def coding_mismatch(up: Seen, down: Seen) -> str:
    """What a hop did to a body's content coding and not to its header, or the other way round; "" if nothing.

    The two are wrong for each other where the downstream body, read by its header, is not what was sent,
    and read by the other side's is.
    """
    before, after = up.trace.content_encoding, down.trace.content_encoding
    raw = down.trace.chunks.body
    if not (before or after) or not raw or not up.data or _same(up.data, down.data):
        return ""
    if after and _same(up.data, raw):
        return (
            f"the body came decoded, under a header that still says Content-Encoding: {after}: clients that "
            f"believe it fail"
        )
    if before and before != after and _same(up.data, _decoded(raw, before)):
        kept = f"under Content-Encoding: {after}" if after else "without its Content-Encoding header"
        return f"the body came as it was, in {before}, but {kept}: clients read the coded bytes as text"
    if before and after and _same(up.data, _decoded(down.data, before)):
        return (
            f"the body came coded twice, in {before} and again in {after}, under a header that says "
            f"Content-Encoding: {after}: clients read the inner coding as text"
        )
    return ""


def _same(sent: bytes, came: bytes) -> bool:
    alike = common_prefix(sent, came)
    return alike > 0 and (alike >= _ENOUGH or alike == min(len(sent), len(came)))


def _decoded(raw: bytes, coding: str) -> bytes:
    decoder = Decoder(coding)
    return decoder.feed(raw)
