"""Where two texts part: found at any size, and never guessed."""

from __future__ import annotations

import random
import time
from array import array
from itertools import pairwise

import pytest

from sse_tap.blocks.timing import Text
from sse_tap.pairing import texts
from sse_tap.pairing.texts import Edit, Follower, edits, text_share, words

STORY = "The quick brown fox jumps over the lazy dog while seven small wizards quietly box. "
ZH = "北京的春天很美，花开满城。人们喜欢在公园里散步🙂和聊天，孩子们放风筝。"


def applied(sent: str, came: str, found: list[Edit]) -> str:
    """The downstream text, made from the upstream one and the edits."""
    out, at = "", 0
    for edit in found:
        out += sent[at : edit.start] + came[edit.came_start : edit.came_stop]
        at = edit.stop
    return out + sent[at:]


@pytest.mark.parametrize("size", ["characters", "words"])
@pytest.mark.parametrize("seed", range(30))
def test_the_edits_make_the_one_text_of_the_other(
    seed: int, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if size == "words":
        monkeypatch.setattr(texts, "MAX_CHARACTERS", 0)
    rng = random.Random(seed)
    sent = (STORY + ZH) * 3
    came = "".join("" if (roll := rng.random()) < 0.03 else c * 2 if roll < 0.06 else c for c in sent)
    found = edits(sent, came)
    assert found is not None
    assert applied(sent, came, found) == came
    assert all(a.stop <= b.start and a.came_stop <= b.came_start for a, b in pairwise(found))


def test_the_same_text_parts_nowhere() -> None:
    assert edits(STORY, STORY) == []


def test_words_keep_every_character() -> None:
    text = f"  {STORY}\n\n{ZH} end  "
    assert "".join(words(text)) == text
    assert len(words(ZH)) > 20


def test_what_is_too_long_is_not_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MAX_CHARACTERS", 10)
    monkeypatch.setattr(texts, "MAX_WORDS", 10)
    assert edits(STORY, STORY[5:]) is not None  # one is the end of the other
    assert edits("x" + STORY + "x", STORY.upper()) is None


def test_a_hundred_thousand_pieces_are_aligned_in_a_moment() -> None:
    """Under a second on a quiet machine; here only that it is no matter of minutes."""
    rng = random.Random(1)
    vocabulary = STORY.split()
    pieces = [rng.choice(vocabulary) + " " for _ in range(100_000)]
    began = time.process_time()
    found = edits("".join(pieces), "".join(piece for i, piece in enumerate(pieces) if i % 10))
    assert found is not None
    assert time.process_time() - began < 20


def test_an_offset_is_followed_past_losses_and_additions() -> None:
    """`one two three four` came as `one three and four`."""
    follower = Follower([Edit(3, 7, 3, 3), Edit(13, 13, 9, 13)])
    assert [follower.at(offset) for offset in (3, 5, 7, 13, 14, 18)] == [3, None, None, 9, 14, 18]
    assert Follower([Edit(3, 7, 3, 6)]).at(7) == 6  # changed, and there


def text(said: str) -> Text:
    return Text(said, array("q"), array("q"))


@pytest.mark.parametrize(
    ("sent", "came", "alike"),
    [
        (STORY, STORY, True),
        (STORY, STORY.replace("The ", "", 1), True),
        (STORY, "Well: " + STORY.replace("seven ", ""), True),
        (ZH, ZH.replace("春天", "\ufffd"), True),
        (STORY, "A request was made and the answer that came of it is quite another one than that.", False),
        (STORY, "", False),
        ("yes it is", "no it is not", False),
        (ZH, "上海的夏天很热，大家都去海边游泳，晚上吃冰淇淋，看星星，听音乐，讲故事。", False),
    ],
)
def test_texts_are_alike_by_their_beginning_or_by_their_words(sent: str, came: str, alike: bool) -> None:
    assert (text_share(text(sent), text(came)) >= texts.TEXT_SHARE) is alike


def test_of_a_stream_that_was_cut_what_came_is_compared() -> None:
    assert text_share(text(STORY * 3), text(STORY[4:]), cut=False) < texts.TEXT_SHARE
    assert text_share(text(STORY * 3), text(STORY[4:]), cut=True) > texts.TEXT_SHARE
