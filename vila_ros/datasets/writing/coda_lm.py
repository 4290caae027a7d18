# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""CODA-LM (arXiv:2404.10595): a JSON file a picture, and its three tasks as questions.

    train/images/0001.jpg
    CODA-LM/Train/train_0001.json                        the annotation
    CODA-LM/Train/vqa_anno/general_perception.jsonl      {question_id, image, question, answer}
    CODA-LM/Train/vqa_anno/region_perception.jsonl
    CODA-LM/Train/vqa_anno/driving_suggestion.jsonl
    CODA-LM/Train/vqa_anno/RULE.jsonl                    questions of other sources

Numbers have at least four digits. Boxes are [x, y, width, height] in pixels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from vila_ros.datasets.records import ExportedSample
from vila_ros.datasets.template import SampleRule
from vila_ros.datasets.whole_file import whole_file
from vila_ros.datasets.writing.formats import Export
from vila_ros.datasets.writing.linking import link_file

_ONE_PICTURE = "CODA-LM has one picture a question"


class CodaLm:
    """See Format."""

    clip_folders = False

    def refuses_rule(self, rule: SampleRule) -> str:
        """Several pictures cannot be held."""
        return "" if rule.media == "image" else _ONE_PICTURE

    def refuses(self, sample: ExportedSample) -> str:
        """Several pictures cannot be held."""
        return "" if sample.kind == "image" else _ONE_PICTURE

    def pack(self, folder: Path, samples: Sequence[ExportedSample], place: str) -> dict[str, Any]:
        """Nothing: pictures get their numbers when all are known."""
        return {}

    def write(self, export: Export) -> None:
        """Pictures, annotations and questions."""
        folders = {output.place: output.folder / "media" for output in export.outputs}
        numbers: dict[str, dict[str, str]] = {"train": {}, "val": {}}
        annotated: set[str] = set()
        counts: dict[tuple[str, str], int] = {}
        with ExitStack() as stack:
            files: dict[tuple[str, str], IO[bytes]] = {}
            for sample in export.samples():
                media, split = sample.media[0], sample.split
                known = numbers[split]
                if media.file not in known:
                    known[media.file] = f"{len(known) + 1:04d}"
                number = known[media.file]
                image = f"{split}/images/{number}{Path(media.file).suffix}"
                link_file(_source(folders, media.file), export.out / image)
                base = export.out / "CODA-LM" / split.capitalize()
                if sample.annotation is not None and image not in annotated:
                    annotated.add(image)
                    with whole_file(base / f"{split}_{number}.json") as file:
                        text = json.dumps(sample.annotation, ensure_ascii=False, indent=4)
                        file.write(f"{text}\n".encode())
                key = (split, sample.rule)
                if key not in files:
                    path = base / "vqa_anno" / f"{sample.rule}.jsonl"
                    files[key] = stack.enter_context(whole_file(path))
                for question, answer in sample.pairs():
                    row = {
                        "question_id": counts.get(key, 0),
                        "image": image,
                        "question": question,
                        "answer": answer,
                    }
                    counts[key] = counts.get(key, 0) + 1
                    files[key].write((json.dumps(row, ensure_ascii=False) + "\n").encode())


def _source(folders: dict[str, Path], file: str) -> Path:
    """Where a picture is now whose place in the export is given."""
    place = next(place for place in folders if file.startswith(f"{place}/"))
    return folders[place] / Path(file).relative_to(place)


FORMAT = CodaLm()
