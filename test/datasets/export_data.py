# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Small recordings and templates to export, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from vila_ros.bags.compressed_image import serialize_compressed_image
from vila_ros.bags.serialization import serialize, serialize_float32, standard_types, typestore_with
from vila_ros.bags.writer import BagWriter
from vila_ros.datasets.export import ExportReport, run_export
from vila_ros.datasets.logged_types import definitions
from vila_ros.datasets.plan import ExportOptions
from vila_ros.datasets.split import SplitRule

START_NS = 1_700_000_000_000_000_000
COMPRESSED, RAW = "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/Image"
SCENE = "vila_ros/msg/SceneDescription"
FRONT, REAR, SPEED = "/front/image_raw/compressed", "/rear/image_raw/compressed", "/speed"
TENTH = 100_000_000

SPEED_TEMPLATE = """\
values:
  speed: {topic: /speed, match: linear, max_gap: 0.2}
words:
  pace: [[10, slow], fast]
samples:
  - {name: pace, every: 0.5, question: "How fast?", answer: "{speed|pace}, {speed:.1f} m/s"}
"""


def jpeg(value: int, size: tuple[int, int] = (48, 32)) -> bytes:
    """A small picture, width and height; different values give different bytes."""
    chance = np.random.default_rng(value)
    noise = chance.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return cv2.imencode(".jpg", cv2.GaussianBlur(noise, (9, 9), 3))[1].tobytes()


def raw_image(stamp_ns: int, pixels: np.ndarray, encoding: str = "rgb8") -> bytes:
    """A serialized sensor_msgs/Image of uint8 [H, W, C]."""
    types = standard_types().types
    stamp = types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 10**9))
    header = types["std_msgs/msg/Header"](stamp, "front")
    height, width = pixels.shape[:2]
    step = width * (pixels.shape[2] if pixels.ndim == 3 else 1)
    message = types[RAW](header, height, width, encoding, 0, step, pixels.reshape(-1))
    return serialize(message, RAW)


def write_recording(
    path: Path,
    *,
    frames: int = 40,
    cameras: tuple[str, ...] = (FRONT,),
    storage: str = "mcap",
    start_ns: int = START_NS,
    size: tuple[int, int] = (48, 32),
    seed: int = 0,
) -> Path:
    """Cameras with JPEGs at 10 Hz, and a speed of 0.5 m/s more each frame."""
    with BagWriter(path, storage) as writer:
        for index in range(frames):
            stamp = start_ns + index * TENTH
            for number, topic in enumerate(cameras):
                data = jpeg(1000 * seed + 100 * number + index, size)
                image = serialize_compressed_image(stamp, f"camera{number}", "jpeg", data)
                writer.write(topic, COMPRESSED, stamp + number, image)
            writer.write(SPEED, "std_msgs/msg/Float32", stamp, serialize_float32(index / 2))
    return path


def scene_description(stamps: list[int], prompt: str, text: str, camera: str = "front") -> bytes:
    """A serialized SceneDescription about some frames."""
    store = typestore_with({})
    from rosbags.typesys import get_types_from_msg

    for name, definition in definitions().items():
        if "/msg/" in name:
            store.register(get_types_from_msg(definition, name))
    types = store.types
    time = types["builtin_interfaces/msg/Time"]
    times = [time(*divmod(stamp, 10**9)) for stamp in stamps]
    references = [types["vila_ros/msg/FrameRef"](camera, each, "camera0") for each in times]
    header = types["std_msgs/msg/Header"](times[-1], "camera0")
    stats = types["vila_ros/msg/InferenceStats"]("tiny", "torch", *[0.0] * 5, *[0] * 4, 0.0, 0, 0)
    message = types[SCENE](header, times[0], times[-1], references, prompt, text, "", stats)
    return serialize(message, SCENE, store)


def options(
    tmp_path: Path, *recordings: Path, template: str = "", **changes: object
) -> ExportOptions:
    """Options of an export; template: a text, written to a file."""
    values: dict = {"format": "vila", "split": SplitRule(val=0.25, gap=0.2), "threads": 1}
    if template:
        values["template"] = tmp_path / "template.yaml"
        values["template"].write_text(template)
    return ExportOptions(tuple(recordings), **{**values, **changes})


def export(tmp_path: Path, *recordings: Path, out: str = "out", **changes: object) -> ExportReport:
    """Export into tmp_path/out."""
    return run_export(options(tmp_path, *recordings, **changes), tmp_path / out)


def contents(folder: Path) -> dict[str, bytes]:
    """All files of an export but its own notes, by their names.

    registry.yaml holds absolute paths, which are made relative here.
    """
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".vila" not in path.relative_to(folder).parts
    }
    if "registry.yaml" in found:
        found["registry.yaml"] = found["registry.yaml"].replace(str(folder).encode(), b"OUT")
    return found


def lines(path: Path) -> list[dict]:
    """The values of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]
