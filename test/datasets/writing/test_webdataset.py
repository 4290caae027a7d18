# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import tarfile
from collections import defaultdict
from itertools import pairwise

import jsonschema
import pytest

from test.datasets.export_data import SPEED_TEMPLATE, START_NS, TENTH, export, jpeg, write_recording

TEMPLATE = (
    SPEED_TEMPLATE
    + """\
  - {name: clip, media: video, frames: 4, over: 0.6, every: 1, question: "What happens?", answer: b}
  - {name: change, media: images, frames: 2, over: 0.5, every: 1,
     question: "First <image>, then <image>. Faster?", answer: "{speed:.1f}"}
"""
)
INDEX = {
    "type": "object",
    "required": ["__kind__", "wids_version", "shardlist"],
    "properties": {
        "__kind__": {"const": "wids-shard-index-v1"},
        "wids_version": {"const": 1},
        "shardlist": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["url", "nsamples", "filesize"],
                "properties": {"url": {"type": "string"}, "nsamples": {"type": "integer"}},
            },
        },
    },
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("webdataset")
    recording = write_recording(folder / "drive")
    export(folder, recording, template=TEMPLATE, format="webdataset", slice=1.5)
    return folder / "out"


def samples_of(folder):
    """Samples by key, as WebDataset reads them: a name up to its first dot, then the ending."""
    index = json.loads((folder / "wids-meta.json").read_text())
    jsonschema.validate(index, INDEX)
    for shard in index["shardlist"]:
        path = folder / shard["url"]
        assert path.stat().st_size == shard["filesize"]
        found = defaultdict(dict)
        with tarfile.open(path) as tar:
            names = tar.getnames()
            for member in tar:
                key, _, ending = member.name.partition(".")
                found[key][ending] = tar.extractfile(member).read()
        # A sample's files follow each other, or readers would take them for two samples.
        keys = [name.partition(".")[0] for name in names]
        assert len([1 for a, b in pairwise(keys) if a != b]) + 1 == len(found)
        assert len(found) == shard["nsamples"]
        yield from found.items()


def test_every_sample_has_its_pictures_and_its_conversation(exported):
    for split in ("train", "val"):
        samples = dict(samples_of(exported / split))
        assert samples
        for key, files in samples.items():
            row = json.loads(files["json"])
            assert row["id"] == key
            assert row["split"] == split
            endings = row.get("image", row.get("video"))
            endings = [endings] if isinstance(endings, str) else endings
            assert set(files) == {"json", *endings}
            for ending, frame in zip(endings, row["provenance"]["frames"], strict=True):
                assert files[ending] == jpeg((frame["stamp_ns"] - START_NS) // TENTH)


def test_the_media_lie_in_the_shards_alone(exported):
    assert not list(exported.rglob("*.jpg"))
    assert json.loads((exported / "train/wids-meta.json").read_text())["shardlist"][0]["url"] == (
        "000000.tar"
    )
