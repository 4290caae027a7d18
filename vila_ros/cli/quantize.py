# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila quantize`: a VILA folder to one with an int4 language model, by AWQ."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vila_ros.quantization.samples import SampleSet

FORMATS = ("compressed-tensors", "gemm", "tinychat", "modelopt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("model", metavar="DIR", help="float checkpoint folder, or a hub id")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="DATASET",
        help="recording, video, folder of images or VILA's JSON; built-in drawings without it",
    )
    parser.add_argument("--samples", type=int, default=40, help="taken from it (default 40)")
    parser.add_argument("--group", type=int, default=128, help="weights that share a scale")
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0])
    parser.add_argument("--device", default="cpu", help="where blocks are searched")
    parser.add_argument("--revision", help="branch, tag or commit of a hub id")


def run(args: argparse.Namespace) -> int:
    """Quantise and print what it cost."""
    from vila_ros.model.checkpoint import locate
    from vila_ros.quantization.quantise import QuantiseOptions, quantise_folder
    from vila_ros.quantization.report import report_paths, summary

    report = quantise_folder(
        locate(args.model, args.revision),
        args.out,
        read_dataset(args.calibration, args.samples),
        QuantiseOptions(args.group, args.format, args.device),
        lambda line: print(line, flush=True),
    )
    print("\n".join(["", *summary(report), ""]))
    print(f"written to {args.out}; the report is {report_paths(args.out)[1]}")
    return 0


def read_dataset(path: Path | None, count: int) -> SampleSet:
    """Calibration samples from what is at the path. Raises InvalidRequest."""
    from vila_ros.errors import InvalidRequest
    from vila_ros.quantization.samples import (
        LEAST_SAMPLES,
        drawn_conversations,
        frame_conversations,
        image_conversations,
        json_conversations,
        split_samples,
    )

    if count < LEAST_SAMPLES:
        raise InvalidRequest(f"--samples is {count}; at least {LEAST_SAMPLES} are needed")
    if path is None:
        return split_samples(drawn_conversations(count), "built-in drawings")
    if not path.exists():
        raise InvalidRequest(f"{path}: no such file or folder to calibrate with")
    if path.suffix in (".json", ".jsonl"):
        return split_samples(json_conversations(path, count), path.name)
    recorded = not path.is_dir() or (path / "metadata.yaml").is_file()
    if recorded:
        return split_samples(frame_conversations(_recorded_frames(path, count)), path.name)
    return split_samples(image_conversations(path, count), path.name)


def _recorded_frames(path: Path, count: int) -> list:
    """Frames of a recording's cameras, evenly spread over it."""
    from vila_ros.bags.recorded_cameras import recorded_cameras
    from vila_ros.bags.recording import open_recording
    from vila_ros.perception.buffer import FrameBuffer
    from vila_ros.perception.images import decode_frame

    recording = open_recording(path)
    cameras = {camera.topic: camera for camera in recorded_cameras(recording)}
    total = sum(recording.topics[name].count for name in cameras)
    wanted = {index * total // count for index in range(count)}
    frames = []
    for number, message in enumerate(recording.messages(set(cameras))):
        if number not in wanted:
            continue
        camera = cameras[message.topic]
        buffer = FrameBuffer(camera.name, camera.kind)
        buffer.add(message.data, message.stamp_ns)
        newest = buffer.newest()
        if newest is not None:
            frames.append(decode_frame(newest))
    return frames
