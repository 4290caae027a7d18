# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Values that are no numbers, and pictures that cannot be decoded, do not stop an export."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from test.datasets.export_data import (
    COMPRESSED,
    FRONT,
    SPEED,
    SPEED_TEMPLATE,
    START_NS,
    TENTH,
    export,
    jpeg,
)
from vila_ros.bags.compressed_image import serialize_compressed_image
from vila_ros.bags.serialization import serialize, serialize_float32, standard_types
from vila_ros.bags.writer import BagWriter
from vila_ros.datasets.split import SplitRule

WHOLE = SplitRule(val=0)
STRING = "std_msgs/msg/String"
SAYS_SPEED = """\
values:
  speed: {topic: /speed, match: MATCH}
samples:
  - {name: pace, every: 0, question: "How fast?", answer: "{speed:.1f} m/s"}
"""


def recording(path, speeds, files=None):
    """A camera and a speed at 10 Hz."""
    with BagWriter(path) as writer:
        for index, speed in enumerate(speeds):
            stamp = START_NS + index * TENTH
            data = files[index] if files else jpeg(index)
            message = serialize_compressed_image(stamp, "front", "", data)
            writer.write(FRONT, COMPRESSED, stamp, message)
            writer.write(SPEED, "std_msgs/msg/Float32", stamp, serialize_float32(speed))
    return path


@pytest.mark.parametrize("match", ["nearest", "last", "linear"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_samples_of_values_that_are_not_finite_are_left_out(tmp_path, value, match):
    speeds = [float(value) if index == 4 else index / 2 for index in range(10)]
    report = export(tmp_path, recording(tmp_path / "drive", speeds), split=WHOLE,
                    template=SAYS_SPEED.replace("MATCH", match))  # fmt: skip
    said = [row["conversations"][1]["value"]
            for row in json.loads((tmp_path / "out/train_image.json").read_text())]  # fmt: skip
    assert said == [f"{index / 2:.1f} m/s" for index in range(10) if index != 4]
    assert report.statistics["left_out"] == {"value 'speed' is not finite": 1}
    assert report.statistics["values"]["speed"]["high"] == 4.5
    texts = [path.read_text() for path in (tmp_path / "out").glob("*.json*")]
    assert len(texts) > 2
    assert not any(name in text for text in texts for name in ("NaN", "Infinity"))


def test_a_condition_that_excludes_such_a_value_leaves_nothing_to_tell(tmp_path):
    speeds = [float("inf") if index == 4 else index / 2 for index in range(10)]
    template = SAYS_SPEED.replace("MATCH", "last").replace('/s"}', '/s", when: {speed: [0, 9]}}')
    report = export(tmp_path, recording(tmp_path / "drive", speeds), split=WHOLE, template=template)
    assert report.statistics["samples"]["total"] == 9
    assert report.statistics["left_out"] == {}


def test_whole_numbers_larger_than_any_float_are_not_finite_either(tmp_path):
    path = tmp_path / "drive"
    with BagWriter(path) as writer:
        for index in range(3):
            stamp = START_NS + index * TENTH
            message = serialize_compressed_image(stamp, "front", "", jpeg(index))
            writer.write(FRONT, COMPRESSED, stamp, message)
            said = json.dumps({"count": 10**400 if index == 1 else index})
            text = standard_types().types[STRING](said)
            writer.write("/truth", STRING, stamp, serialize(text, STRING))
    template = """\
values:
  count: {topic: /truth, field: data.count, match: last}
samples:
  - {name: count, every: 0, question: "How many?", answer: "{count}"}
"""
    report = export(tmp_path, path, split=WHOLE, template=template)
    assert report.statistics["left_out"] == {"value 'count' is not finite": 1}


def damaged_png() -> bytes:
    """A PNG with a flipped byte among its compressed pixels."""
    pixels = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)
    data = bytearray(cv2.imencode(".png", pixels)[1])
    data[100] ^= 0xFF
    return bytes(data)


@pytest.mark.parametrize("format", ["vila", "coda_lm", "drivelm", "webdataset"])
def test_the_preview_shows_that_a_picture_cannot_be_decoded(tmp_path, format):
    files = [damaged_png() if index == 5 else jpeg(index) for index in range(10)]
    drive = recording(tmp_path / "drive", [0.0] * 10, files)
    report = export(tmp_path, drive, split=WHOLE, template=SPEED_TEMPLATE, format=format)
    assert report.statistics["samples"]["total"] == 2
    page = (tmp_path / "out/preview.html").read_text()
    data = page.split('type="application/json">')[1].split("</script>")[0]
    found = [sample["pictures"] for sample in json.loads(data)["samples"]]
    assert [[bool(url) for url in urls] for urls in found] == [[True], [False]]
