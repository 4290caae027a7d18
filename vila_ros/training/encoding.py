# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Samples as rows of the language model's input, with labels where the model is to learn.

What is learnt: an assistant's turns with the token that ends each, or all text of a document. A
sequence is laid out exactly as at inference, so that a model meets in use what it was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from vila_ros.datasets.reading.pictures import clip_length, picture_size
from vila_ros.datasets.types import ClipSource, ImageSource, Sample, SourcePart
from vila_ros.engine.interface import ImagePart, Message, Part, TextPart, VideoPart
from vila_ros.errors import InvalidCheckpoint, InvalidRequest, PromptTooLong
from vila_ros.model.conversation import Turn, find_template
from vila_ros.model.interleave import (
    IGNORE_LABEL,
    IMAGE_ID,
    MarkStyle,
    MediaPart,
    MediaSegment,
    PromptLayout,
    TextSegment,
    mark_media,
)
from vila_ros.model.tokenizer import IMAGE_MARK, VIDEO_MARK
from vila_ros.model.vila import Vila
from vila_ros.training.stages import PLAIN

MEDIA_ID = IMAGE_ID
"""Stands in ids for each row that a medium's embedding takes."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameSource:
    """One frame of a clip, for models that see a clip as single images."""

    clip: ClipSource
    index: int


SlotSource = ImageSource | ClipSource | FrameSource


@dataclass(frozen=True, slots=True, eq=False)
class MediaSlot:
    """A medium in a sequence: rows [start, start + length), of which `rows` hold MEDIA_ID.

    The others are framing text, for example NVILA's newline after an image. tiled: whether the
    model sees the image in tiles.
    """

    source: SlotSource
    start: int
    length: int
    rows: int
    tiled: bool = False


@dataclass(frozen=True, eq=False)
class EncodedExample:
    """One sequence. ids, labels: int64 [n], one for each row of the language model's input.

    ids hold MEDIA_ID where a medium's embeddings go. labels hold the id that stands in the same
    row (the model shifts them), IGNORE_LABEL where nothing is learnt. slots: the media, in order.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    slots: tuple[MediaSlot, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def learnt(self) -> int:
        """Rows with a label that a row before them can predict."""
        return int((self.labels[1:] != IGNORE_LABEL).sum())


class SampleEncoder:
    """Encodes samples for one model.

    version: "plain" (see stages.PLAIN), a conversation template's name, or None for the model's
    own. max_length: rows after which a sequence is cut, as the reference does; a medium is never
    cut in two.
    """

    def __init__(self, vila: Vila, *, version: str | None = None, max_length: int | None = None):
        self._vila = vila
        self._plain = version == PLAIN
        named = None if version in (None, PLAIN) else version
        self._conversation = (
            vila.conversation if named is None else find_template(named, vila.tokenizer)
        )
        self._stops = self._conversation.stop_strings
        self._max_length = max_length

    def __call__(self, sample: Sample) -> EncodedExample:
        """Encode a sample.

        Raises InvalidRequest for turns out of order or nothing to learn, PromptTooLong when nothing
        learnt is left before max_length, InvalidImage where an image's size must be known.
        """
        if not sample.turns:
            raise InvalidRequest(f"{sample.origin or sample.id}: a sample without turns")
        for turn in sample.turns:
            spoken = any(isinstance(part, str) and part.strip() for part in turn.parts)
            if not turn.parts or (turn.role in ("assistant", "text") and not spoken):
                raise InvalidRequest(
                    f"{sample.origin or sample.id}: a turn of role {turn.role} is empty"
                )
        if self._plain or sample.turns[0].role == "text":
            example = self._document(sample)
        else:
            example = self._dialogue(sample)
        if example.learnt == 0:
            raise InvalidRequest(f"{sample.origin or sample.id}: no text to learn")
        return self._cut(example, sample)

    def _dialogue(self, sample: Sample) -> EncodedExample:
        if sample.turns[-1].role != "assistant":
            raise InvalidRequest(
                f"{sample.origin or sample.id}: the last turn is the {sample.turns[-1].role}'s; "
                "a conversation ends with the assistant's answer"
            )
        sources: list[SlotSource] = []
        messages = [
            Message(turn.role, self._parts(turn.parts, sources))
            for turn in sample.turns
            if turn.role != "text"
        ]
        if len(messages) < len(sample.turns):
            raise InvalidRequest(
                f"{sample.origin or sample.id}: a turn of role text stands in a conversation"
            )
        turns, media, tiled = self._vila.mark(messages)
        text = self._conversation.prompt(turns)
        layout = self._vila.lay_out(text, media, tiled)
        learnt = np.zeros(len(_flat(layout)), dtype=bool)
        for first, last in self._answers(turns, text, media, layout):
            learnt[first:last] = True
        return self._expand(layout, learnt, sources)

    def _answers(
        self, turns: Sequence[Turn], text: str, media: Sequence[MediaPart], layout: PromptLayout
    ) -> list[tuple[int, int]]:
        """Where answers stand among the layout's ids, the token that ends each included.

        Tokenizers differ in whether they tell where a token came from, so the beginnings of the
        text are tokenized as well: what they share with the whole is known.
        """
        whole = _flat(layout)
        spans = []
        for index, turn in enumerate(turns):
            if turn.role != "assistant":
                continue
            opened = self._conversation.prompt(turns[:index])
            closed = self._conversation.prompt(turns[: index + 1])
            start = _shared(opened, closed)
            end = self._answer_end(closed, start)
            if not text.startswith(closed[:end]):
                raise InvalidCheckpoint(
                    f"conversation template {self._conversation.name} rewrites earlier turns when "
                    "later ones follow; train on single questions, or choose another template"
                )
            first, last = (
                _shared(_flat(self._beginning(text[:place], media)), whole)
                for place in (start, end)
            )
            spans.append((first, last))
        return spans

    def _answer_end(self, closed: str, start: int) -> int:
        """Where an answer's text ends in `closed`, its stop text included."""
        ends = [closed.rfind(stop, start) + len(stop) for stop in self._stops if stop]
        return max([end for end in ends if end > start], default=len(closed))

    def _beginning(self, text: str, media: Sequence[MediaPart]) -> PromptLayout:
        marks = text.count(IMAGE_MARK)
        if self._vila.config.generation == "nvila":
            marks += text.count(VIDEO_MARK)
        return self._vila.lay_out(text, media[:marks])

    def _document(self, sample: Sample) -> EncodedExample:
        """All text of a document, or with version "plain" a conversation's media and answers."""
        parts = [
            part
            for turn in sample.turns
            for part in turn.parts
            if not (self._plain and turn.role in ("system", "user") and isinstance(part, str))
        ]
        sources: list[SlotSource] = []
        message = Message("user", self._parts(parts, sources))
        nvila = self._vila.config.generation == "nvila"
        (turn,), media = mark_media([message], MarkStyle(trims=nvila, clips=nvila))
        tokenizer = self._vila.tokenizer
        end = "\n" if self._plain else str(tokenizer.eos_token or "")
        layout = self._vila.lay_out(turn.text + end, media)
        ids = _flat(layout)
        learnt = np.fromiter((i != MEDIA_ID and i != tokenizer.bos_token_id for i in ids), bool)
        return self._expand(layout, learnt, sources)

    def _parts(self, parts: Sequence[SourcePart], sources: list[SlotSource]) -> tuple[Part, ...]:
        """Parts of a message whose media have no pixels; their sources are added to `sources`."""
        made: list[Part] = []
        clips = self._vila.config.generation == "nvila"
        for part in parts:
            if isinstance(part, str):
                made.append(TextPart(part))
            elif isinstance(part, ImageSource):
                made.append(ImagePart(_NO_PIXELS))
                sources.append(part)
            elif clips:
                made.append(VideoPart((_NO_PIXELS,)))
                sources.append(part)
            else:
                frames = range(clip_length(part))
                made += [ImagePart(_NO_PIXELS) for _ in frames]
                sources += [FrameSource(part, index) for index in frames]
        return tuple(made)

    def _expand(
        self, layout: PromptLayout, learnt: NDArray[np.bool_], sources: Sequence[SlotSource]
    ) -> EncodedExample:
        """From one id for each medium to one for each of its rows."""
        ids: list[int] = []
        labels: list[int] = []
        slots: list[MediaSlot] = []
        waiting, place = iter(sources), 0
        for segment in layout.segments:
            if isinstance(segment, TextSegment):
                marks = learnt[place : place + len(segment.token_ids)]
                ids += segment.token_ids
                labels += [
                    token if mark else IGNORE_LABEL
                    for token, mark in zip(segment.token_ids, marks, strict=True)
                ]
                place += len(segment.token_ids)
                continue
            source = next(waiting)
            rows = slot_ids(self._vila, source, segment.tiled)
            slots.append(
                MediaSlot(source, len(ids), len(rows), rows.count(MEDIA_ID), segment.tiled)
            )
            ids += rows
            labels += [IGNORE_LABEL] * len(rows)
            place += 1
        return EncodedExample(np.array(ids, np.int64), np.array(labels, np.int64), tuple(slots))

    def _cut(self, example: EncodedExample, sample: Sample) -> EncodedExample:
        limit = self._max_length
        if limit is None or len(example) <= limit:
            return example
        torn = [slot.start for slot in example.slots if slot.start + slot.length > limit]
        end = min([limit, *torn])
        kept = replace(
            example,
            ids=example.ids[:end],
            labels=example.labels[:end],
            slots=tuple(slot for slot in example.slots if slot.start + slot.length <= end),
        )
        if kept.learnt == 0:
            raise PromptTooLong(
                f"{sample.origin or sample.id}: {len(example)} rows, of which nothing to learn "
                f"stands in the first {limit}; raise the length or use fewer images"
            )
        return kept


def slot_ids(vila: Vila, source: SlotSource, tiled: bool) -> list[int]:
    """The ids of a medium's rows: MEDIA_ID for each projected token, and the framing text's.

    The layouts are those of Vila.join_tiles and model.video.encode_clip.
    """
    if isinstance(source, ClipSource):
        encoder = vila.config.video_encoder
        frames = clip_length(source)
        tokens = vila.tile_tokens
        ids: list[int] = []
        for t, r, c in encoder.pool_sizes or ((1, 1, 1),):
            frame = _framed(vila, tokens // (r * c), encoder.start_tokens, encoder.end_tokens)
            ids += frame * -(-frames // t)
            ids += vila.text_ids(encoder.sep_tokens) if encoder.pool_sizes else []
        return ids
    image = vila.config.image_encoder
    grid = None
    if tiled and isinstance(source, ImageSource):
        grid = vila.image_processor.grid(*picture_size(source), True)
    scales = vila.config.scales
    if grid is None or (scales is not None and scales.dynamic):
        count = vila.tile_tokens
        if grid is not None and scales is not None:
            rows, columns = grid
            if scales.output < len(scales.sizes) - 1:
                rows = columns = scales.sizes[scales.output] // scales.sizes[0]
            count *= rows * columns
        return _framed(vila, count, image.start_tokens, image.end_tokens)
    tiles = grid[0] * grid[1] + int(grid[0] * grid[1] > 1)
    tile = _framed(vila, vila.tile_tokens, image.start_tokens, image.end_tokens)
    return (tile + list(vila.tile_separator_ids)) * (tiles - 1) + tile


_NO_PIXELS = np.zeros((1, 1, 3), np.uint8)


def _framed(vila: Vila, rows: int, start: str | None, end: str | None) -> list[int]:
    return [*vila.text_ids(start), *[MEDIA_ID] * rows, *vila.text_ids(end)]


def _flat(layout: PromptLayout) -> list[int]:
    """One list of ids, with MEDIA_ID for each medium."""
    ids: list[int] = []
    for segment in layout.segments:
        ids += [MEDIA_ID] if isinstance(segment, MediaSegment) else segment.token_ids
    return ids


def _shared(first: Sequence[object], second: Sequence[object]) -> int:
    """The length of what two sequences begin with alike."""
    if second[: len(first)] == first:
        return len(first)
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
