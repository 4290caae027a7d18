# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Messages as rows of the language model's input, named so that equal rows are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from vila_ros.engine.interface import Message, VideoPart
from vila_ros.model.embedding_cache import media_digest
from vila_ros.model.interleave import MediaSegment

if TYPE_CHECKING:
    from vila_ros.model.vila import Vila

RowNames = NDArray[np.uint64]
"""[rows, 2]: what each row of a sequence holds. Text: (token id, 0). Row r of a medium: its
digest's two halves, r added to the second. Equal names promise equal input rows."""


@dataclass(frozen=True, eq=False)
class Medium:
    """An image or a video, its name and the rows it takes."""

    segment: MediaSegment
    digest: bytes
    rows: int

    @property
    def is_video(self) -> bool:
        """Whether it is a clip, encoded as one."""
        return isinstance(self.segment.part, VideoPart)

    @property
    def images(self) -> int:
        """Images that its encoding runs through the vision tower."""
        part = self.segment.part
        return len(part.frames) if isinstance(part, VideoPart) else 1


@dataclass(frozen=True, eq=False)
class Prompt:
    """pieces: token ids or media in order. names: RowNames of all rows."""

    pieces: tuple[tuple[int, ...] | Medium, ...]
    names: RowNames

    def __len__(self) -> int:
        return len(self.names)

    @property
    def media(self) -> tuple[Medium, ...]:
        """The images and videos in order."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Medium))

    @property
    def image_rows(self) -> int:
        """Rows that media take."""
        return sum(medium.rows for medium in self.media)

    @property
    def images(self) -> int:
        """Images and video frames."""
        return sum(medium.images for medium in self.media)

    def media_from(self, start: int) -> tuple[Medium, ...]:
        """The media with a row at or after `start`."""
        found, end = [], 0
        for piece in self.pieces:
            end += rows_of(piece)
            if isinstance(piece, Medium) and end > start:
                found.append(piece)
        return tuple(found)

    def embed(
        self, vila: Vila, start: int, end: int, embeddings: Mapping[bytes, torch.Tensor]
    ) -> torch.Tensor:
        """Input rows [start, end), as [end - start, hidden].

        embeddings: those of the media needed, [rows, hidden], by digest.
        """
        parts, at = [], 0
        for piece in self.pieces:
            low, high = max(start - at, 0), min(end - at, rows_of(piece))
            at += rows_of(piece)
            if low >= high:
                continue
            if isinstance(piece, Medium):
                parts.append(embeddings[piece.digest][low:high].to(vila.dtype))
            else:
                parts.append(vila.embed_tokens(torch.tensor(piece[low:high])))
        return torch.cat(parts)


def rows_of(piece: tuple[int, ...] | Medium) -> int:
    """Rows that a piece of a prompt takes."""
    return piece.rows if isinstance(piece, Medium) else len(piece)


def text_names(token_ids: Sequence[int]) -> RowNames:
    """RowNames of text."""
    names = np.zeros((len(token_ids), 2), dtype=np.uint64)
    names[:, 0] = token_ids
    return names


def media_names(digest: bytes, rows: int) -> RowNames:
    """RowNames of a medium."""
    names = np.empty((rows, 2), dtype=np.uint64)
    names[:] = np.frombuffer(digest, dtype=np.uint64)
    names[:, 1] += np.arange(rows, dtype=np.uint64)  # wraps around, as unsigned numbers do
    return names


def lay_out(vila: Vila, messages: Sequence[Message]) -> Prompt:
    """The prompt of messages under the model's conversation template."""
    pieces: list[tuple[int, ...] | Medium] = []
    names: list[RowNames] = []
    for segment in vila.render(messages).segments:
        if isinstance(segment, MediaSegment):
            digest = media_digest(segment.part, tiled=segment.tiled)
            medium = Medium(segment, digest, vila.media_tokens(segment))
            pieces.append(medium)
            names.append(media_names(digest, medium.rows))
        else:
            pieces.append(segment.token_ids)
            names.append(text_names(segment.token_ids))
    return Prompt(tuple(pieces), np.concatenate(names) if names else text_names(()))
