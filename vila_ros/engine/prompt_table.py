# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A prompt as TensorRT-LLM's executor takes it: token ids, with images as rows of a table.

Ids from the vocabulary's end on are rows of the request's prompt table: id vocabulary + r reads row
r. Images are written into the sequence where they stand, each by as many ids as it has rows, in
any number and place; TensorRT-LLM's own multimodal runner marks images by token id 0 instead and
loses an image that follows another one directly (tensorrt_llm/runtime/multimodal_model_runner.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from vila_ros.errors import PromptTooLong, TooManyFrames
from vila_ros.model.prompt import Medium, Prompt


@dataclass(frozen=True)
class EngineLimits:
    """What one request may hold.

    vocabulary: the engine's, padding included. table_rows: image rows. rows_per_image: for
    messages. input_tokens: prompt, images included. sequence_tokens: prompt and answer.
    """

    vocabulary: int
    table_rows: int
    rows_per_image: int
    input_tokens: int
    sequence_tokens: int

    @property
    def images(self) -> int:
        """Images that fit into one request."""
        return min(self.table_rows, self.input_tokens) // self.rows_per_image

    def check(self, prompt: Prompt, max_tokens: int) -> None:
        """Raise TooManyFrames or PromptTooLong, with the counts, unless the request fits."""
        rows = prompt.image_rows
        if rows > min(self.table_rows, self.input_tokens):
            raise TooManyFrames(
                f"{prompt.images} images take {rows} rows, this engine takes "
                f"{min(self.table_rows, self.input_tokens)} ({self.images} images); use fewer "
                "frames, or build with a larger --images"
            )
        if len(prompt) > self.input_tokens:
            raise PromptTooLong(
                f"the prompt has {len(prompt)} tokens ({rows} of them image rows), this engine "
                f"takes {self.input_tokens} (max_input_len); shorten it or use fewer frames"
            )
        if len(prompt) + max_tokens > self.sequence_tokens:
            raise PromptTooLong(
                f"{len(prompt)} prompt tokens and {max_tokens} for the answer exceed this engine's "
                f"{self.sequence_tokens} (max_seq_len); shorten the prompt, use fewer frames or "
                "lower max_tokens"
            )


@dataclass(frozen=True, eq=False)
class TablePrompt:
    """input_ids: the sequence. table: [rows, hidden], None without images. extra_ids: one for each
    id, telling images apart whose ids are equal; 0 for text."""

    input_ids: list[int]
    table: torch.Tensor | None
    extra_ids: list[int]


def table_prompt(
    prompt: Prompt, embeddings: Mapping[bytes, torch.Tensor], limits: EngineLimits
) -> TablePrompt:
    """Put a prompt's media into a table.

    embeddings: [rows, hidden] by digest. A medium that stands in the prompt twice is in the table
    once. Its rows' extra id is taken from its digest, so equal images are equal across requests.
    """
    ids: list[int] = []
    extra: list[int] = []
    rows: list[torch.Tensor] = []
    first: dict[bytes, int] = {}
    used = 0
    for piece in prompt.pieces:
        if not isinstance(piece, Medium):
            ids += piece
            extra += [0] * len(piece)
            continue
        if piece.digest not in first:
            first[piece.digest] = used
            rows.append(embeddings[piece.digest])
            used += piece.rows
        start = limits.vocabulary + first[piece.digest]
        ids += range(start, start + piece.rows)
        extra += [extra_id(piece.digest)] * piece.rows
    return TablePrompt(ids, torch.cat(rows) if rows else None, extra)


def extra_id(digest: bytes) -> int:
    """A medium's name as the executor takes it: 63 bits, never 0, which means text."""
    return (int.from_bytes(digest[:8], "little") >> 1) or 1
