# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
r"""Records of training data as samples: conversations, documents, captions, instructions.

    {"image": "a.jpg", "conversations": [{"from": "human", "value": "<image>\nWhat?"}, …]}
    {"video": "drive.mp4", "conversations": […]}            a file, or a folder of frames
    {"text": "A door. <image> It opens.", "images": ["a.jpg"]}              a document
    {"text_list": ["A door.", "It opens."], "image_info": [{"image_name": "a.jpg",
     "matched_text_index": 1}]}                             a document as MMC4 has it
    {"image": "a.jpg", "caption": "A door."}
    {"instruction": "Name three fruits.", "input": "", "output": "Apple, pear, fig."}

Facts: LLaVADataset and LLaVANextDataset of llava/data in NVlabs/VILA. There the first strips all
marks and puts every medium first, the second wants one mark for each image. Here a medium stands
where its mark is, all media come first where there is no mark, and any other number is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vila_ros.datasets.reading.records import InvalidSample
from vila_ros.datasets.types import ClipSource, ImageSource, Sample, SampleTurn, SourcePart

ROLES: Mapping[str, Literal["system", "user", "assistant"]] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "system": "system",
}
PICTURE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MAX_FRAMES = 1024
# A line break behind a mark belongs to the layout, which each model family writes its own way.
_MARK = re.compile(r"<(image|video|vila/video)>\n?")
_DIGITS = re.compile(r"(\d+)")

Medium = ImageSource | ClipSource


@dataclass(frozen=True)
class MediaFolder:
    """Where a file's media stand. frames: how many are taken of a clip."""

    folder: Path
    frames: int = 8

    def image(self, name: object, origin: str) -> ImageSource:
        """A picture by its path in the folder."""
        return ImageSource(path=self._inside(name, origin), key=str(name))

    def clip(self, name: object, origin: str) -> ClipSource:
        """A video file, or a folder of frames in the order of the numbers in their names."""
        if isinstance(name, list):
            if not 1 <= len(name) <= MAX_FRAMES:
                raise InvalidSample(
                    origin, "media", f"a clip of {len(name)} frames, expected 1 to {MAX_FRAMES}"
                )
            return ClipSource(frames=tuple(self.image(frame, origin) for frame in name))
        path = self._inside(name, origin)
        if not path.is_dir():
            return ClipSource(path=path, count=self.frames)
        files = [file for file in path.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES]
        if not files:
            raise InvalidSample(origin, "missing media", f"{path} holds no pictures")
        files.sort(key=lambda file: _natural(file.name))
        picked = np.linspace(0, len(files) - 1, min(self.frames, len(files))).round().astype(int)
        return ClipSource(
            frames=tuple(
                ImageSource(path=files[i], key=f"{name}/{files[i].name}") for i in picked.tolist()
            )
        )

    def _inside(self, name: object, origin: str) -> Path:
        if not isinstance(name, str) or not name or "\0" in name:
            raise InvalidSample(origin, "media", f"{name!r} is no path of a medium")
        folder = os.path.abspath(self.folder)
        path = os.path.normpath(os.path.join(folder, name))
        if os.path.commonpath([folder, path]) != folder:
            raise InvalidSample(
                origin, "media", f"{name!r} leads out of the media folder {self.folder}"
            )
        return Path(path)


def read_sample(record: Mapping[str, Any], media: MediaFolder, origin: str) -> Sample:
    """A record of any of the forms above. Raises InvalidSample saying what is wrong with it."""
    name = str(record.get("id", record.get("question_id", origin)))
    if "conversations" in record or "messages" in record:
        turns = _conversation(record, media, origin)
    elif "text_list" in record:
        turns = (SampleTurn("text", _matched_parts(record, media, origin)),)
    elif "output" in record and ("instruction" in record or "input" in record):
        turns = _instruction(record, origin)
    elif "caption" in record:
        text = _text(record["caption"], origin, "caption")
        if not _named_media(record, media, origin):
            raise InvalidSample(origin, "media", "a caption without an image")
        turns = (SampleTurn("text", (*_named_media(record, media, origin), text)),)
    elif "text" in record:
        text = _text(record["text"], origin, "text")
        turns = (
            SampleTurn("text", _marked([text], _named_media(record, media, origin), origin)[0]),
        )
    else:
        raise InvalidSample(
            origin,
            "unknown form",
            f"keys {', '.join(sorted(map(str, record))[:8])} tell no form of training data; "
            "expected conversations, text, text_list, caption, or instruction and output",
        )
    provenance = record.get("provenance")
    return Sample(name, turns, origin, provenance if isinstance(provenance, dict) else {})


def _conversation(
    record: Mapping[str, Any], media: MediaFolder, origin: str
) -> tuple[SampleTurn, ...]:
    given = record.get("conversations", record.get("messages"))
    if not isinstance(given, list) or not given:
        raise InvalidSample(origin, "turns", "conversations is no list of turns")
    roles, texts = [], []
    for number, turn in enumerate(given, start=1):
        if not isinstance(turn, dict):
            raise InvalidSample(origin, "turns", f"turn {number} is no object")
        role = ROLES.get(str(turn.get("from", turn.get("role"))))
        if role is None:
            raise InvalidSample(
                origin,
                "turns",
                f"turn {number} is from {turn.get('from', turn.get('role'))!r}; expected human, "
                "gpt or system",
            )
        text = turn.get("value", turn.get("content"))
        if not isinstance(text, str):
            raise InvalidSample(origin, "turns", f"turn {number} has no text")
        if role == "assistant" and not text.strip():
            raise InvalidSample(origin, "empty answer", f"turn {number}, an answer, is empty")
        if role != "user" and _MARK.search(text):
            raise InvalidSample(
                origin, "marks", f"turn {number}, not the user's, has a mark of an image"
            )
        roles.append(role)
        texts.append(text)
    spoken = roles[1:] if roles[0] == "system" else roles
    if spoken != ["user", "assistant"] * (len(spoken) // 2) or not spoken:
        raise InvalidSample(
            origin,
            "turns",
            f"turns are from {', '.join(roles)}; expected an optional system turn, then user and "
            "assistant by turns, the assistant last",
        )
    users = [index for index, role in enumerate(roles) if role == "user"]
    marked = _marked([texts[index] for index in users], _named_media(record, media, origin), origin)
    parts: dict[int, tuple[SourcePart, ...]] = dict(zip(users, marked, strict=True))
    empty = [index + 1 for index in users if not parts[index]]
    if empty:
        raise InvalidSample(origin, "turns", f"turn {empty[0]}, the user's, is empty")
    return tuple(
        SampleTurn(role, parts.get(index, (texts[index],))) for index, role in enumerate(roles)
    )


def _named_media(record: Mapping[str, Any], media: MediaFolder, origin: str) -> list[Medium]:
    """The media that a record names, images first."""
    images = record.get("images", record.get("image"))
    clips = record.get("videos", record.get("video"))
    found: list[Medium] = []
    if images is not None:
        names = images if isinstance(images, list) else [images]
        found += [media.image(name, origin) for name in names]
    if clips is not None:
        several = isinstance(clips, list) and "videos" in record
        found += [media.clip(name, origin) for name in (clips if several else [clips])]
    return found


def _marked(
    texts: Sequence[str], media: Sequence[Medium], origin: str
) -> list[tuple[SourcePart, ...]]:
    """Texts with media in the places of their marks; without any mark media come first."""
    marks = sum(len(_MARK.findall(text)) for text in texts)
    if marks == 0:
        first = (*media, *([texts[0]] if texts[0].strip() else []))
        return [first, *((text,) if text.strip() else () for text in texts[1:])]
    if marks != len(media):
        raise InvalidSample(
            origin,
            "marks",
            f"{marks} marks such as <image> for {len(media)} media; write one for each, or none to "
            "put all media first",
        )
    # A clip's mark may be written <image> as well, so marks are taken in order within a kind.
    images = [medium for medium in media if isinstance(medium, ImageSource)]
    clips = [medium for medium in media if isinstance(medium, ClipSource)]
    placed: list[tuple[SourcePart, ...]] = []
    for text in texts:
        parts: list[SourcePart] = []
        at = 0
        for mark in _MARK.finditer(text):
            parts += [text[at : mark.start()]] if mark.start() > at else []
            waiting = images if (mark[1] == "image" and images) or not clips else clips
            parts.append(waiting.pop(0))
            at = mark.end()
        placed.append((*parts, *([text[at:]] if text[at:] else [])))
    return placed


def _matched_parts(
    record: Mapping[str, Any], media: MediaFolder, origin: str
) -> tuple[SourcePart, ...]:
    """MMC4's form: each image stands before the text that it was matched with."""
    texts = record.get("text_list")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InvalidSample(origin, "turns", "text_list is no list of texts")
    before: dict[int, list[ImageSource]] = {}
    for info in record.get("image_info", ()):
        place = info.get("matched_text_index") if isinstance(info, dict) else None
        if not isinstance(place, int) or not 0 <= place < len(texts):
            raise InvalidSample(
                origin, "marks", f"an image is matched with text {place!r} of {len(texts)}"
            )
        before.setdefault(place, []).append(media.image(info.get("image_name"), origin))
    parts: list[SourcePart] = []
    for index, text in enumerate(texts):
        parts += [*before.get(index, ()), text if index == 0 else f" {text}"]
    if not any(text.strip() for text in texts):
        raise InvalidSample(origin, "empty answer", "a document without text")
    return tuple(parts)


def _instruction(record: Mapping[str, Any], origin: str) -> tuple[SampleTurn, ...]:
    asked = [record.get("instruction") or "", record.get("input") or ""]
    if not all(isinstance(text, str) for text in asked) or not any(text.strip() for text in asked):
        raise InvalidSample(origin, "turns", "an instruction without text")
    question = "\n".join(text for text in asked if text.strip())
    answer = _text(record["output"], origin, "output")
    if _MARK.search(question + answer):
        raise InvalidSample(origin, "marks", "a text-only instruction has a mark of an image")
    return (SampleTurn("user", (question,)), SampleTurn("assistant", (answer,)))


def _text(given: object, origin: str, key: str) -> str:
    if not isinstance(given, str) or not given.strip():
        raise InvalidSample(origin, "empty answer", f"{key} is empty")
    return given


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts frame_2 before frame_10."""
    pieces = _DIGITS.split(name)
    return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in pieces]
