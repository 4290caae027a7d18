# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What `vila export` writes, `vila finetune` reads: the same turns, the same pictures."""

from __future__ import annotations

import json

from test.datasets.export_data import SPEED_TEMPLATE, export, write_recording
from vila_ros.datasets.reading.mixture import Mixture, parse_mixture, read_registry
from vila_ros.datasets.split import SplitRule
from vila_ros.datasets.types import ClipSource, ImageSource

TEMPLATE = (
    SPEED_TEMPLATE
    + """\
  - {name: clip, media: video, frames: 4, over: 0.6, every: 1, question: "What happens?", answer: b}
  - {name: change, media: images, frames: 2, over: 0.5, every: 1,
     question: "First <image>, then <image>. Faster?", answer: "{speed:.1f}"}
"""
)


def test_every_sample_is_read_back_as_it_was_made(tmp_path):
    recording = write_recording(tmp_path / "drive")
    export(tmp_path, recording, template=TEMPLATE, name="yard", split=SplitRule(val=0))
    registry = read_registry(tmp_path / "out/registry.yaml")
    names = "+".join(sorted(registry.datasets))
    assert names == "yard_train_image+yard_train_interleaved+yard_train_video"
    mixture = Mixture.open(parse_mixture(names, registry))
    rows = [json.loads(line) for line in (tmp_path / "out/provenance.jsonl").open()]
    provenance = {row["id"]: row for row in rows}
    found = {}
    for dataset in mixture.datasets:
        assert dataset.broken == ()
        for index in range(len(dataset)):
            sample = dataset.sample(index)
            found[sample.id] = sample
    assert found.keys() == provenance.keys()
    for name, sample in found.items():
        files = [tmp_path / "out" / media["file"] for media in provenance[name]["media"]]
        parts = sample.turns[0].parts
        pictures = [part for part in parts if isinstance(part, ImageSource)]
        clips = [part for part in parts if isinstance(part, ClipSource)]
        if clips:
            pictures = list(clips[0].frames)
        assert [part.path.read_bytes() for part in pictures] == [f.read_bytes() for f in files]
    change = next(sample for name, sample in found.items() if "-change-" in name)
    kinds = [part if isinstance(part, str) else "picture" for part in change.turns[0].parts]
    assert kinds == ["First ", "picture", ", then ", "picture", ". Faster?"]
