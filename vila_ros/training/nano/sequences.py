# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Training sequences: pictures read once, and many questions about them behind.

A sequence is a shared beginning (template, frames' captions, pictures) and branches, each a
question with its answer. A branch sees the beginning and itself, and its positions go on from the
beginning's end: to the model every branch is a conversation of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vila_ros.model.conversation import TEMPLATES
from vila_ros.perception.prompt import age

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TEMPLATE = "hermes-2"
IMAGE_ROWS = 64
IMAGE_ID = -200
IGNORE = -100
_CAMERAS = ("front camera", "camera", "front left camera", "rear camera", "head camera",
            "left camera", "right camera", "usb camera")  # fmt: skip
_SYSTEMS = ("You are the eyes of a robot.", "Answer briefly.", "Answer in few words.",
            "You look through the camera of a robot.")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Branch:
    """A question's and its answer's ids; weight: of the answer's tokens in the loss.

    spared: places in the answer, each with an id that is not denied there (see unseen.py).
    """

    asked: tuple[int, ...]
    answer: tuple[int, ...]
    weight: float = 1.0
    spared: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.asked) + len(self.answer)


@dataclass(frozen=True, eq=False)
class Packed:
    """pieces: ids of text, or numbers of pictures, in order. branches follow."""

    pieces: tuple[tuple[int, ...] | int, ...]
    branches: tuple[Branch, ...]

    def __len__(self) -> int:
        first = sum(IMAGE_ROWS if isinstance(p, int) else len(p) for p in self.pieces)
        return first + sum(map(len, self.branches))


class Writer:
    """Writes sequences in the words of one tokenizer, as nodes put their questions."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._encode = lru_cache(maxsize=1 << 16)(
            lambda text: tuple(tokenizer.encode(text, add_special_tokens=False).ids)
        )
        template = TEMPLATES[TEMPLATE]
        self._template = template
        self._opens = template.user[0]
        self._closes = template.user[1] + template.opening
        self._ends = self._encode(template.assistant[1])

    def branch(
        self,
        question: str,
        answer: str,
        weight: float = 1.0,
        image: bool = True,
        unseen: Sequence[str] = (),
    ) -> Branch:
        """A question as it stands behind the last picture. unseen: answers not to be denied."""
        before = "\n" if image else ""
        asked = self._encode(before + question + self._closes)
        ids = self._encode(answer) + self._ends
        spared = []
        for other in unseen:
            pairs = zip(ids, self._encode(other) + self._ends, strict=False)
            spared.append(next((at, b) for at, (a, b) in enumerate(pairs) if a != b))
        return Branch(asked, ids, weight, tuple(spared))

    def beginning(
        self, pictures: Sequence[int], times: Sequence[float], chance: np.random.Generator
    ) -> tuple[tuple[int, ...] | int, ...]:
        """Template and pictures up to the last picture. times: seconds of each picture."""
        template = self._template
        system = template.default_system
        if chance.random() < 0.08:
            system = _SYSTEMS[chance.integers(len(_SYSTEMS))]
        text = template.system[0] + system + template.system[1] + self._opens
        pieces: list[tuple[int, ...] | int] = []
        style = chance.random()
        camera = _CAMERAS[0 if chance.random() < 0.6 else chance.integers(len(_CAMERAS))]
        for index, (picture, when) in enumerate(zip(pictures, times, strict=True)):
            if style < 0.75:
                text += f"{camera}, {age(round((times[-1] - when) * 1e9))}:\n"
            elif style < 0.85:
                name = f"image {index + 1}" if len(pictures) > 1 else "image"
                text += f"attached {name}:\n"
            pieces += [self._encode(text), picture] if text else [picture]
            text = "\n"
        return tuple(pieces)

    def text_beginning(self) -> tuple[tuple[int, ...] | int, ...]:
        """Template alone, for questions without a picture."""
        template = self._template
        text = template.system[0] + template.default_system + template.system[1] + self._opens
        return (self._encode(text),)


@dataclass(frozen=True, eq=False)
class Batch:
    """Sequences padded to one length.

    ids [B, L], IMAGE_ID at pictures; labels [B, L], what the row is to predict (shifted already),
    IGNORE elsewhere; weights [B, L]; positions [B, L]; owner [B, L]: 0 the beginning, n the n-th
    branch, -1 padding. spared [B, L]: an id that is not denied where labels are, or IGNORE.
    pictures: those of all sequences in order.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    weights: NDArray[np.float32]
    positions: NDArray[np.int64]
    owner: NDArray[np.int16]
    spared: NDArray[np.int64]
    pictures: NDArray[np.int64]


def batch_of(sequences: Sequence[Packed], pad_id: int, multiple: int = 32) -> Batch:
    """Sequences as arrays."""
    length = -(-max(len(each) for each in sequences) // multiple) * multiple
    shape = (len(sequences), length)
    ids = np.full(shape, pad_id, np.int64)
    labels = np.full(shape, IGNORE, np.int64)
    weights = np.zeros(shape, np.float32)
    positions = np.zeros(shape, np.int64)
    owner = np.full(shape, -1, np.int16)
    spared = np.full(shape, IGNORE, np.int64)
    pictures: list[int] = []
    for row, sequence in enumerate(sequences):
        at = 0
        for piece in sequence.pieces:
            if isinstance(piece, int):
                ids[row, at : at + IMAGE_ROWS] = IMAGE_ID
                pictures.append(piece)
                at += IMAGE_ROWS
            else:
                ids[row, at : at + len(piece)] = piece
                at += len(piece)
        positions[row, :at] = np.arange(at)
        owner[row, :at] = 0
        begun = at
        for number, branch in enumerate(sequence.branches, start=1):
            tokens = branch.asked + branch.answer
            end = at + len(tokens)
            ids[row, at:end] = tokens
            positions[row, at:end] = begun + np.arange(len(tokens))
            owner[row, at:end] = number
            first = at + len(branch.asked) - 1
            labels[row, first : end - 1] = branch.answer
            weights[row, first : end - 1] = branch.weight
            weights[row, end - 2] = 0.3 * branch.weight  # the end is easy
            for place, token in branch.spared:
                spared[row, first + place] = token
            at = end
    return Batch(ids, labels, weights, positions, owner, spared, np.array(pictures, np.int64))
