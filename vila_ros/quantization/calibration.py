# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a model sees while the ranges of its activations are measured: images with questions.

AWQ scales weights by the activations they meet. A vision-language model meets image rows most of
the time, so text alone misleads it (issue 1860 of NVIDIA/TensorRT-LLM: answers collapse); here
every sample is an image with a question, laid out by the model's own template.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from vila_ros.engine.interface import ImagePart, Message, TextPart
from vila_ros.errors import InvalidImage, InvalidRequest

if TYPE_CHECKING:
    import torch

    from vila_ros.model.vila import Vila

SAMPLES = 32
"""As many as TensorRT-LLM's own quantize.py takes for AWQ."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# Asked in turn of images that have no question of their own.
QUESTIONS = (
    "Describe the scene in detail.",
    "What objects are in the image, and where are they?",
    "Is there anything in the way? Answer yes or no, and say what.",
    "How many people and vehicles are there?",
    "Read every text that is visible in the image.",
    "What may happen next, and why?",
)


@dataclass(frozen=True)
class Sample:
    """An image file, what is asked about it, and the answer, empty if none is known."""

    image: Path
    question: str
    answer: str = ""


def read_samples(folder: Path, most: int = SAMPLES) -> tuple[Sample, ...]:
    """The images of a folder and below, at most `most`, spread evenly over their sorted names.

    An image may have a text file of the same name: its first line is the question, the rest the
    answer. Raises InvalidRequest for a folder without images.
    """
    if most < 1:
        raise InvalidRequest(f"{most} calibration samples were asked for; at least 1 is needed")
    found = sorted(
        path
        for path in Path(folder).rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )
    if not found:
        raise InvalidRequest(
            f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)}) to calibrate with; put some "
            f"{SAMPLES} typical camera images there"
        )
    count = min(most, len(found))
    picked = [found[index * len(found) // count] for index in range(count)]
    return tuple(_sample(path, number) for number, path in enumerate(picked))


def embeddings_of(vila: Vila, samples: Sequence[Sample]) -> Iterator[torch.Tensor]:
    """Each sample as the language model's input, [1, n, hidden]. Raises InvalidImage."""
    for sample in samples:
        asked = (ImagePart(read_image(sample.image)), TextPart("\n" + sample.question))
        messages = [Message("user", asked)]
        if sample.answer:
            messages.append(Message("assistant", (TextPart(sample.answer),)))
        embedded = vila.embed_prompt(vila.render(messages))
        yield embedded[None, : vila.context_length]


def read_image(path: Path) -> np.ndarray:
    """An image file as RGB, uint8 [H, W, 3]."""
    try:
        with Image.open(path) as picture:
            return np.ascontiguousarray(picture.convert("RGB"))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise InvalidImage(f"{path} is no readable image: {error}") from error


def _sample(path: Path, number: int) -> Sample:
    text = path.with_suffix(".txt")
    question, answer = QUESTIONS[number % len(QUESTIONS)], ""
    if text.is_file():
        first, _, rest = text.read_text(encoding="utf-8").strip().partition("\n")
        question, answer = first or question, rest.strip()
    return Sample(path, question, answer)
