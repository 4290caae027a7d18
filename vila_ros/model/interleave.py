# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where media stand among text tokens, and how both become one sequence of embeddings.

VILA1.5 cuts the prompt at each `<image>` and tokenizes the pieces one by one; images have no token
of their own (-200 stands for one in id lists). In NVILA `<image>` and `<vila/video>` are tokens,
tokenized with the rest. Facts: llava/mm_utils.py and llava/model/llava_arch.py in NVlabs/VILA,
branch vila1.5 and main.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vila_ros.engine.interface import (
    EncodedImagePart,
    ImagePart,
    Message,
    Part,
    RgbImage,
    TextPart,
    VideoPart,
)
from vila_ros.errors import InvalidRequest
from vila_ros.model.conversation import Turn
from vila_ros.model.tokenizer import IMAGE_MARK, VIDEO_MARK

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

IMAGE_ID = -200
IGNORE_LABEL = -100

MediaPart = ImagePart | VideoPart


@dataclass(frozen=True)
class TextSegment:
    """Tokens of text."""

    token_ids: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class MediaSegment:
    """A medium; tiled: whether the model sees it in tiles (NVILA, a prompt with one image)."""

    part: MediaPart
    tiled: bool = False


@dataclass(frozen=True, eq=False)
class PromptLayout:
    """A prompt: text and media in the order the language model reads them."""

    segments: tuple[TextSegment | MediaSegment, ...]

    @property
    def media(self) -> tuple[MediaSegment, ...]:
        """The media alone."""
        return tuple(part for part in self.segments if isinstance(part, MediaSegment))

    @property
    def text_tokens(self) -> int:
        """Tokens of text."""
        return sum(len(part.token_ids) for part in self.segments if isinstance(part, TextSegment))

    def ids(self, image_id: int, video_id: int = IMAGE_ID) -> list[int]:
        """One list of ids, with one id standing for each medium."""
        ids: list[int] = []
        for part in self.segments:
            if isinstance(part, TextSegment):
                ids += part.token_ids
            else:
                ids.append(image_id if isinstance(part.part, ImagePart) else video_id)
        return ids


@dataclass(frozen=True)
class MarkStyle:
    """How a model family marks media in text.

    image, video: the mark; after_image follows an image unless the text has it. trims: whether
    every message is stripped. clips: whether a clip is one medium; else its frames are images.
    """

    image: str = IMAGE_MARK
    video: str = VIDEO_MARK
    after_image: str = ""
    trims: bool = False
    clips: bool = False


def mark_media(
    messages: Sequence[Message], style: MarkStyle
) -> tuple[tuple[Turn, ...], tuple[MediaPart, ...]]:
    """Messages to turns of text with marks, and the media in the order of their marks.

    Raises InvalidRequest for an image that came as a file; models take pixels.
    """
    turns: list[Turn] = []
    media: list[MediaPart] = []
    for message in messages:
        parts = [part for given in message.parts for part in _as_images(given, style)]
        text = ""
        for part, following in zip(parts, [*parts[1:], None], strict=True):
            if isinstance(part, TextPart):
                text += _without_marks(part.text)
            elif isinstance(part, VideoPart):
                media.append(part)
                text += style.video
            elif isinstance(part, EncodedImagePart):
                raise InvalidRequest(
                    f"An image came as {part.media_type}, but the model takes pixels; decode it."
                )
            else:
                media.append(part)
                has_it = isinstance(following, TextPart) and following.text.startswith("\n")
                text += style.image + ("" if has_it else style.after_image)
        turns.append(Turn(message.role, text.strip() if style.trims else text))
    return tuple(turns), tuple(media)


def parts_of_prompt(prompt: str, images: Sequence[RgbImage]) -> tuple[Part, ...]:
    """A prompt with `<image>` marks, as a person writes it, to parts.

    Without any mark the images come first, as in llava/eval/run_vila.py. InvalidRequest when
    there are marks, but not as many as images.
    """
    texts = prompt.split(IMAGE_MARK)
    if len(texts) == 1:
        return (*(ImagePart(image) for image in images), TextPart(prompt))
    check_count(len(texts) - 1, len(images))
    parts: list[Part] = [TextPart(texts[0])]
    for image, text in zip(images, texts[1:], strict=True):
        parts += [ImagePart(image), TextPart(text)]
    return tuple(part for part in parts if not isinstance(part, TextPart) or part.text)


def check_count(marks: int, media: int) -> None:
    """InvalidRequest unless there are as many marks as media."""
    if marks != media:
        raise InvalidRequest(
            f"the prompt has {marks} {IMAGE_MARK} marks for {media} images; write one mark for "
            "each image, or none to put all images first"
        )


def lay_out_chunks(
    prompt: str, media: Sequence[MediaPart], tokenizer: PreTrainedTokenizerBase
) -> PromptLayout:
    """VILA1.5: pieces between marks tokenized on their own, all but the first without BOS."""
    chunks = [tokenizer(chunk).input_ids for chunk in prompt.split(IMAGE_MARK)]
    check_count(len(chunks) - 1, len(media))
    skip = int(bool(chunks[0]) and chunks[0][0] == tokenizer.bos_token_id)
    segments: list[TextSegment | MediaSegment] = [TextSegment(tuple(chunks[0]))]
    for part, chunk in zip(media, chunks[1:], strict=True):
        segments += [MediaSegment(part), TextSegment(tuple(chunk[skip:]))]
    return _layout(segments)


def lay_out_tokens(
    prompt: str,
    media: Sequence[MediaPart],
    tokenizer: PreTrainedTokenizerBase,
    tiled: bool = False,
) -> PromptLayout:
    """NVILA: the prompt tokenized as a whole, media standing at their own tokens."""
    kinds = media_kinds(tokenizer)
    ids = tokenizer(prompt).input_ids
    check_count(sum(token in kinds for token in ids), len(media))
    segments: list[TextSegment | MediaSegment] = []
    text: list[int] = []
    waiting = iter(media)
    for token in ids:
        if token not in kinds:
            text.append(token)
            continue
        part = next(waiting)
        if not isinstance(part, kinds[token]):
            raise InvalidRequest(f"a {type(part).__name__} stands at the mark of another kind")
        segments += [TextSegment(tuple(text)), MediaSegment(part, tiled)]
        text = []
    return _layout([*segments, TextSegment(tuple(text))])


def media_kinds(tokenizer: PreTrainedTokenizerBase) -> Mapping[int, type]:
    """NVILA's media token ids, each with the type of part that stands there."""
    return {
        int(tokenizer.convert_tokens_to_ids(IMAGE_MARK)): ImagePart,
        int(tokenizer.convert_tokens_to_ids(VIDEO_MARK)): VideoPart,
    }


@dataclass(frozen=True, eq=False)
class MergedBatch:
    """Right- or left-padded sequences with media merged in.

    embeddings [B, L, H], zeros where padded; attention_mask [B, L] bool; position_ids [B, L],
    counting from 0 in each row; labels [B, L], IGNORE_LABEL at media and padding.
    """

    embeddings: torch.Tensor
    attention_mask: torch.Tensor
    position_ids: torch.Tensor
    labels: torch.Tensor


def merge_batch(
    input_ids: torch.Tensor,
    media: Sequence[torch.Tensor],
    media_ids: Sequence[int],
    embed: Callable[[torch.Tensor], torch.Tensor],
    *,
    attention_mask: torch.Tensor | None = None,
    labels: torch.Tensor | None = None,
    max_length: int | None = None,
    padding_side: str = "right",
) -> MergedBatch:
    """Put the rows of media in the places of their ids, through a batch, in order.

    input_ids, labels: int64 [B, T]; attention_mask: bool [B, T], False where padded. media: one
    [n, H] for each id of media_ids in the batch. embed: ids [n] -> [n, H]. max_length cuts rows.
    Raises InvalidRequest when ids and media differ in number.
    """
    if attention_mask is None:
        attention_mask = torch.ones_like(input_ids, dtype=torch.bool)
    if labels is None:
        labels = torch.full_like(input_ids, IGNORE_LABEL)
    keep = attention_mask.bool()
    marks = torch.isin(input_ids, input_ids.new_tensor(list(media_ids))) & keep
    check_count(int(marks.sum()), len(media))
    waiting = iter(media)
    rows = []
    for ids, targets, kept, marked in zip(input_ids, labels, keep, marks, strict=True):
        rows.append(_merge_row(ids[kept], targets[kept], marked[kept], waiting, embed, max_length))
    return _pad_batch(rows, padding_side)


def _merge_row(
    ids: torch.Tensor,
    labels: torch.Tensor,
    marked: torch.Tensor,
    media: Sequence[torch.Tensor] | object,
    embed: Callable[[torch.Tensor], torch.Tensor],
    max_length: int | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One sequence without padding: embeddings [L, H] and labels [L]."""
    places = marked.nonzero().flatten().tolist()
    pieces, targets, start = [], [], 0
    for place in [*places, len(ids)]:
        pieces.append(embed(ids[start:place]))
        targets.append(labels[start:place])
        if place < len(ids):
            rows = next(media)  # type: ignore[call-overload]
            pieces.append(rows.to(pieces[-1].dtype))
            targets.append(labels.new_full((len(rows),), IGNORE_LABEL))
        start = place + 1
    return torch.cat(pieces)[:max_length], torch.cat(targets)[:max_length]


def _pad_batch(rows: Sequence[tuple[torch.Tensor, torch.Tensor]], side: str) -> MergedBatch:
    longest = max(len(labels) for _, labels in rows)
    first = rows[0][0]
    shape = (len(rows), longest)
    embeddings = first.new_zeros((*shape, first.shape[1]))
    labels = torch.full(shape, IGNORE_LABEL, dtype=torch.int64, device=first.device)
    mask = torch.zeros(shape, dtype=torch.bool, device=first.device)
    positions = torch.zeros(shape, dtype=torch.int64, device=first.device)
    for index, (embedded, targets) in enumerate(rows):
        count = len(targets)
        place = slice(0, count) if side == "right" else slice(longest - count, longest)
        embeddings[index, place] = embedded
        labels[index, place] = targets
        mask[index, place] = True
        positions[index, place] = torch.arange(count, device=first.device)
    return MergedBatch(embeddings, mask, positions, labels)


def _layout(segments: Sequence[TextSegment | MediaSegment]) -> PromptLayout:
    return PromptLayout(
        tuple(part for part in segments if isinstance(part, MediaSegment) or part.token_ids)
    )


def _as_images(part: Part, style: MarkStyle) -> tuple[Part, ...]:
    """A clip as its frames, for models that see images only."""
    if not isinstance(part, VideoPart) or style.clips:
        return (part,)
    keys = (None if part.key is None else f"{part.key}#{i}" for i in range(len(part.frames)))
    return tuple(map(ImagePart, part.frames, keys))


def _without_marks(text: str) -> str:
    """Text that cannot be taken for media; the reference removes such marks, too."""
    for mark in (IMAGE_MARK, VIDEO_MARK):
        if mark in text:
            logger.warning("removed %s from the text of a prompt: %r", mark, text[:80])
            text = text.replace(mark, "")
    return text
