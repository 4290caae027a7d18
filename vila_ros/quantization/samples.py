# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Conversations that a model is quantised by: with images and text interleaved, as it will be used.

Text alone misleads AWQ in a vision-language model, whose layers meet image rows most of the time
(issue 1860 of NVIDIA/TensorRT-LLM: answers collapse).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from vila_ros.engine.interface import ImagePart, Message, Part, RgbImage, TextPart
from vila_ros.errors import InvalidRequest, VilaError
from vila_ros.model.interleave import PromptLayout, TextSegment
from vila_ros.model.vila import Vila
from vila_ros.quantization.calibration import QUESTIONS, read_image, read_samples

SAMPLES = 40
"""Taken by default: four fifths calibrate, a fifth is held out to measure what was lost."""
HELD_OUT_EVERY = 5
LEAST_SAMPLES = 5
LEAST_TOKENS = 512
"""Rows of calibration that AWQ's clip search samples; fewer would fit clips to chance."""
LONGEST = 2048  # rows of a sample; longer ones are cut
NOTHING = -100
MARK = "<image>"


@dataclass(frozen=True, eq=False)
class Conversation:
    """Messages ending with the user's question; answer: what follows, empty if none is known."""

    messages: tuple[Message, ...]
    answer: str = ""


@dataclass(frozen=True, eq=False)
class Encoded:
    """A conversation as the language model reads it.

    rows: float32 [1, n, hidden]. labels: int64 [n], the token at each row that counts when
    predictions are judged, NOTHING elsewhere.
    """

    rows: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True, eq=False)
class SampleSet:
    """What a model is calibrated with and judged by, and where it came from."""

    calibration: tuple[Conversation, ...]
    held_out: tuple[Conversation, ...]
    origin: str


def split_samples(conversations: Sequence[Conversation], origin: str) -> SampleSet:
    """Every fifth is held out. Raises InvalidRequest for too few."""
    if len(conversations) < LEAST_SAMPLES:
        raise InvalidRequest(
            f"{origin} gives {len(conversations)} calibration samples; at least {LEAST_SAMPLES} "
            "are needed, some 40 are better"
        )
    held = tuple(conversations[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY])
    rest = tuple(c for i, c in enumerate(conversations, 1) if i % HELD_OUT_EVERY)
    return SampleSet(rest, held, origin)


def encode(vila: Vila, conversation: Conversation) -> Encoded:
    """Embed a conversation. The answer's tokens count, or all text where there is no answer."""
    question = vila.render(conversation.messages)
    layout, asked = question, 0
    if conversation.answer:
        answer = Message("assistant", (TextPart(conversation.answer),))
        # A turn that ends the prompt is what the model is asked for, so that one more follows.
        layout = vila.render((*conversation.messages, answer))
        asked = shared_rows(vila, question, layout)
    ids = token_rows(vila, layout)[:LONGEST]
    labels = torch.tensor(ids)
    labels[:asked] = NOTHING
    rows = vila.embed_prompt(layout)[: len(ids)].float()
    return Encoded(rows[None], labels)


def token_rows(vila: Vila, layout: PromptLayout) -> list[int]:
    """The token of each row; NOTHING for a medium's."""
    ids: list[int] = []
    for part in layout.segments:
        if isinstance(part, TextSegment):
            ids += part.token_ids
        else:
            ids += [NOTHING] * vila.media_tokens(part)
    return ids


def shared_rows(vila: Vila, question: PromptLayout, whole: PromptLayout) -> int:
    """Rows that two layouts begin with alike."""
    pairs = zip(token_rows(vila, question), token_rows(vila, whole), strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), len(token_rows(vila, question)))


def check_size(encoded: Sequence[Encoded], origin: str) -> None:
    """Raise InvalidRequest for samples that are too short."""
    rows = sum(sample.rows.shape[1] for sample in encoded)
    if rows < LEAST_TOKENS:
        raise InvalidRequest(
            f"{origin} gives {rows} tokens of calibration in {len(encoded)} samples; at least "
            f"{LEAST_TOKENS} are needed: more samples, or longer ones"
        )


def image_conversations(folder: Path, most: int) -> list[Conversation]:
    """A folder of images, each with a question; see calibration.read_samples."""
    return [
        Conversation(
            (_ask(ImagePart(read_image(sample.image)), TextPart("\n" + sample.question)),),
            sample.answer,
        )
        for sample in read_samples(folder, most)
    ]


def frame_conversations(frames: Sequence[RgbImage]) -> list[Conversation]:
    """Frames of a camera: in turn one of them, and two with text between."""
    made = []
    for number, frame in enumerate(frames):
        question = QUESTIONS[number % len(QUESTIONS)]
        if number % 3 == 2:
            before = ImagePart(frames[number - 1])
            parts: tuple[Part, ...] = (TextPart("Before: "), before, TextPart("\nNow: "))
            parts += (ImagePart(frame), TextPart(f"\nWhat has changed? {question}"))
        else:
            parts = (ImagePart(frame), TextPart("\n" + question))
        made.append(Conversation((_ask(*parts),)))
    return made


def json_conversations(path: Path, most: int) -> list[Conversation]:
    """VILA's JSON (a list, or one object a line): image or images, conversations from human and
    gpt, <image> where an image stands; images are found beside the file. At most `most`, spread
    evenly. Raises InvalidRequest."""
    try:
        text = path.read_text(encoding="utf-8")
        # str.splitlines would also cut at U+2028 and its like, which may stand inside of a text.
        records = (
            json.loads(text)
            if text.lstrip().startswith("[")
            else [json.loads(line) for line in text.split("\n") if line.strip()]
        )
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{path} is no JSON of samples: {error}") from error
    count = min(most, len(records))
    picked = [records[index * len(records) // count] for index in range(count)]
    return [_from_record(path, number, record) for number, record in enumerate(picked)]


def drawn_conversations(count: int, seed: int = 0) -> list[Conversation]:
    """Built in: drawn scenes of shapes with questions and answers, some of two pictures, some of
    text alone."""
    chance = np.random.default_rng(seed)
    return [_drawn(number, chance) for number in range(count)]


COLOURS = {
    "red": (200, 40, 40), "green": (40, 160, 60), "blue": (50, 80, 200),
    "yellow": (230, 200, 40), "white": (240, 240, 240), "black": (20, 20, 20),
}  # fmt: skip
SHAPES = ("box", "ball", "cone")


def _drawn(number: int, chance: np.random.Generator) -> Conversation:
    if number % 8 == 7:
        first, second = (str(chance.choice(list(COLOURS))) for _ in range(2))
        question = (
            f"A robot sees a {first} cone ahead and a {second} ball to the left of it. It may only "
            "drive on free floor. What should it do first, and why?"
        )
        answer = f"It should go around the {first} cone on the right, because the ball is left."
        return Conversation((_ask(TextPart(question)),), answer)
    picture, seen = _scene(chance)
    said = ", ".join(f"a {colour} {shape}" for colour, shape in seen)
    if number % 4 == 3:
        other, further = _scene(chance)
        also = ", ".join(f"a {colour} {shape}" for colour, shape in further)
        parts = (
            TextPart("Front camera: "),
            ImagePart(picture),
            TextPart("\nRear camera: "),
            ImagePart(other),
            TextPart("\nList what each camera shows."),
        )
        return Conversation((_ask(*parts),), f"The front camera shows {said}; the rear, {also}.")
    if number % 4 == 1:
        question, answer = "How many things are on the floor?", str(len(seen))
    else:
        question, answer = QUESTIONS[number % len(QUESTIONS)], f"The picture shows {said}."
    return Conversation((_ask(ImagePart(picture), TextPart("\n" + question)),), answer)


def _scene(chance: np.random.Generator) -> tuple[RgbImage, list[tuple[str, str]]]:
    """A picture of some things on a floor, and what they are, from left to right."""
    width, height = 448, 336
    floor, wall = (tuple(int(v) for v in chance.integers(90, 200, 3)) for _ in range(2))
    image = Image.new("RGB", (width, height), wall)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, height // 2, width, height), fill=floor)
    seen = []
    count = int(chance.integers(1, 5))
    for place in range(count):
        colour, shape = str(chance.choice(list(COLOURS))), str(chance.choice(SHAPES))
        size = int(chance.integers(30, 80))
        x = int((place + 0.5) * width / count - size / 2)
        y = int(chance.integers(height // 2 - size // 2, height - size))
        box = (x, y, x + size, y + size)
        if shape == "box":
            draw.rectangle(box, fill=COLOURS[colour])
        elif shape == "ball":
            draw.ellipse(box, fill=COLOURS[colour])
        else:
            corners = [(x, y + size), (x + size // 2, y), (x + size, y + size)]
            draw.polygon(corners, fill=COLOURS[colour])
        seen.append((colour, shape))
    noise = chance.integers(-6, 7, (height, width, 3))
    pixels = np.clip(np.asarray(image).astype(np.int16) + noise, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels), seen


def _ask(*parts: Part) -> Message:
    return Message("user", parts)


def _from_record(path: Path, number: int, record: Any) -> Conversation:
    where = f"{path}#{number}"
    try:
        images = record.get("image", record.get("images", []))
        names = [images] if isinstance(images, str) else list(images)
        turns = [(turn["from"], str(turn["value"])) for turn in record["conversations"]]
    except (AttributeError, KeyError, TypeError) as error:
        raise InvalidRequest(
            f"{where} is no sample of VILA's JSON (image, conversations): {error!r}"
        ) from error
    answer = ""
    if turns and turns[-1][0] in ("gpt", "assistant"):
        answer = turns.pop()[1]
    waiting = iter(names)
    messages = []
    for speaker, text in turns:
        role = "user" if speaker in ("human", "user") else "assistant"
        messages.append(Message(role, tuple(_parts(path.parent, text, waiting, where))))  # type: ignore[arg-type]
    if not messages or messages[-1].role != "user":
        raise InvalidRequest(f"{where} has no question of a human before its last answer")
    return Conversation(tuple(messages), answer)


def _parts(folder: Path, text: str, waiting: Iterator[str], where: str) -> Iterator[Part]:
    pieces = text.split(MARK)
    for place, piece in enumerate(pieces):
        if place:
            name = next(waiting, None)
            if name is None:
                raise InvalidRequest(f"{where} has more {MARK} marks than images")
            file = (folder / name).resolve()
            if not file.is_relative_to(folder.resolve()):
                raise InvalidRequest(f"{where}: image {name} lies outside of {folder}")
            try:
                yield ImagePart(read_image(file))
            except VilaError as error:
                raise InvalidRequest(f"{where}: {error.message}") from error
        if piece:
            yield TextPart(piece)
