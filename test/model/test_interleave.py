# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Media among text: marks, counts, and whole batches."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from test.model.conftest import picture
from vila_ros.engine.interface import (
    EncodedImagePart,
    ImagePart,
    Message,
    TextPart,
    VideoPart,
)
from vila_ros.errors import InvalidRequest
from vila_ros.model.interleave import (
    IGNORE_LABEL,
    IMAGE_ID,
    MarkStyle,
    MediaSegment,
    TextSegment,
    mark_media,
    merge_batch,
    parts_of_prompt,
)
from vila_ros.model.vila import Vila

IMAGE = ImagePart(picture(8, 8))
OLD = MarkStyle(after_image="\n")
NEW = MarkStyle(trims=True, clips=True)


def say(*parts: object, role: str = "user") -> Message:
    return Message(role, tuple(TextPart(p) if isinstance(p, str) else p for p in parts))


def texts(style: MarkStyle, *messages: Message) -> list[str]:
    return [turn.text for turn in mark_media(messages, style)[0]]


def test_an_image_is_followed_by_a_newline_in_vila15():
    assert texts(OLD, say(IMAGE, "What?")) == ["<image>\nWhat?"]
    assert texts(OLD, say(IMAGE, "\nWhat?")) == ["<image>\nWhat?"]
    assert texts(OLD, say(IMAGE, IMAGE, "What?")) == ["<image>\n<image>\nWhat?"]
    assert texts(OLD, say("First", IMAGE, "then", IMAGE)) == ["First<image>\nthen<image>\n"]


def test_nvila_adds_nothing_and_trims():
    assert texts(NEW, say(" First ", IMAGE, " then ")) == ["First <image> then"]


def test_a_clip_is_one_medium_or_its_frames():
    frames = tuple(picture(8, 8, seed) for seed in range(3))
    clip = VideoPart(frames, key="front@1")
    assert texts(NEW, say(clip, "What?")) == ["<vila/video>What?"]
    turns, media = mark_media([say(clip, "What?")], OLD)
    assert turns[0].text == "<image>\n" * 3 + "What?"
    assert [part.key for part in media] == ["front@1#0", "front@1#1", "front@1#2"]
    assert all(part.pixels is frame for part, frame in zip(media, frames, strict=True))


def test_a_file_is_refused_for_models_take_pixels():
    with pytest.raises(InvalidRequest, match="came as image/jpeg, but the model takes pixels"):
        texts(NEW, say(EncodedImagePart(b"a file", "image/jpeg", 8, 8), "What?"))


def test_text_cannot_pretend_to_be_media():
    turns, media = mark_media([say("look: <image> <vila/video>", IMAGE)], NEW)
    assert turns[0].text == "look:  <image>"
    assert len(media) == 1


def test_a_written_prompt_puts_images_at_its_marks():
    a, b = picture(4, 4, 1), picture(4, 4, 2)
    parts = parts_of_prompt("First <image> then <image>", [a, b])
    assert [type(part) for part in parts] == [TextPart, ImagePart, TextPart, ImagePart]
    assert parts[1].pixels is a
    assert parts[3].pixels is b


def test_a_prompt_without_marks_begins_with_its_images():
    parts = parts_of_prompt("What?", [picture(4, 4)] * 2)
    assert [type(part) for part in parts] == [ImagePart, ImagePart, TextPart]


@pytest.mark.parametrize("images", [0, 1, 3])
def test_marks_and_images_must_be_as_many(images: int):
    with pytest.raises(InvalidRequest, match=f"2 <image> marks for {images} images"):
        parts_of_prompt("<image> and <image>", [picture(4, 4)] * images)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_layouts_count_too(vila15: Vila, nvila: Vila, count: int):
    for vila in (vila15, nvila):
        with pytest.raises(InvalidRequest, match=f"2 <image> marks for {count} images"):
            vila.lay_out("<image> and <image>", [IMAGE] * count)


def test_a_medium_of_the_wrong_kind(nvila: Vila):
    with pytest.raises(InvalidRequest, match="VideoPart stands at the mark of another kind"):
        nvila.lay_out("<image>", [VideoPart((picture(8, 8),))])


def test_chunks_lose_every_bos_but_the_first(vila15: Vila):
    layout = vila15.lay_out("Look <image> here <image>", [IMAGE, IMAGE])
    kinds = [type(segment) for segment in layout.segments]
    assert kinds == [TextSegment, MediaSegment, TextSegment, MediaSegment]
    first, second = (s.token_ids for s in layout.segments if isinstance(s, TextSegment))
    assert list(first) == vila15.tokenizer("Look ").input_ids
    assert list(second) == vila15.tokenizer(" here ").input_ids[1:]
    assert layout.ids(IMAGE_ID).count(1) == 1
    assert layout.text_tokens == len(first) + len(second)


def test_a_prompt_that_begins_with_an_image_still_begins_with_bos(vila15: Vila):
    assert vila15.lay_out("<image>", [IMAGE]).ids(IMAGE_ID) == [1, IMAGE_ID]


TABLE = torch.arange(40.0).view(20, 2)


def embed(ids: torch.Tensor) -> torch.Tensor:
    return TABLE[ids]


def test_a_batch_by_hand():
    ids = torch.tensor([[5, IMAGE_ID, 6, 7], [8, 9, 0, 0]])
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    labels = torch.tensor([[-100, -100, 6, 7], [-100, 9, -100, -100]])
    rows = torch.tensor([[100.0, 101.0], [102.0, 103.0]])
    batch = merge_batch(ids, [rows], [IMAGE_ID], embed, attention_mask=mask, labels=labels)
    assert batch.labels.tolist() == [[-100, -100, -100, 6, 7], [-100, 9, -100, -100, -100]]
    assert batch.attention_mask.tolist() == [[True] * 5, [True] * 2 + [False] * 3]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4], [0, 1, 0, 0, 0]]
    expected = torch.cat([TABLE[5:6], rows, TABLE[6:8]])
    assert torch.equal(batch.embeddings[0], expected)
    assert torch.equal(batch.embeddings[1], torch.cat([TABLE[8:10], torch.zeros(3, 2)]))


def test_a_batch_padded_on_the_left():
    ids = torch.tensor([[5, 6, 7], [8, 0, 0]])
    mask = torch.tensor([[True] * 3, [True, False, False]])
    batch = merge_batch(ids, [], [IMAGE_ID], embed, attention_mask=mask, padding_side="left")
    assert batch.attention_mask.tolist() == [[True] * 3, [False, False, True]]
    assert batch.position_ids[1].tolist() == [0, 0, 0]
    assert torch.equal(batch.embeddings[1, 2], TABLE[8])
    assert (batch.labels == IGNORE_LABEL).all()


def test_rows_are_cut_at_the_greatest_length():
    batch = merge_batch(
        torch.tensor([[5, IMAGE_ID, 6]]), [torch.zeros(4, 2)], [IMAGE_ID], embed, max_length=3
    )
    assert batch.embeddings.shape == (1, 3, 2)


@given(st.lists(st.lists(st.sampled_from([3, 4, IMAGE_ID]), min_size=1, max_size=8), min_size=1))
def test_no_medium_is_lost_or_moved(sequences: list[list[int]]):
    longest = max(map(len, sequences))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in sequences])
    mask = torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in sequences])
    count = sum(row.count(IMAGE_ID) for row in sequences)
    media = [torch.full((1 + index % 3, 2), 100.0 + index) for index in range(count)]
    batch = merge_batch(ids, media, [IMAGE_ID], embed, attention_mask=mask)
    waiting = iter(media)
    for row, kept, embedded in zip(sequences, batch.attention_mask, batch.embeddings, strict=True):
        parts = [next(waiting) if token == IMAGE_ID else TABLE[[token]] for token in row]
        assert torch.equal(embedded[kept], torch.cat(parts))


def test_a_batch_needs_as_many_media_as_marks():
    with pytest.raises(InvalidRequest, match="1 <image> marks for 0 images"):
        merge_batch(torch.tensor([[IMAGE_ID]]), [], [IMAGE_ID], embed)


def test_pixels_are_not_copied_into_a_layout(vila15: Vila):
    (medium,) = vila15.render([say(IMAGE, "What?")]).media
    assert np.shares_memory(medium.part.pixels, IMAGE.pixels)
