# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An ONNX graph of the vision side to a TensorRT engine, on the GPU it will run on.

    python -m vila_ros.quantization.visual_engine --onnx ONNX --out OUT --max-images N

ONNX is what visual_onnx wrote. Writes OUT/model.engine and OUT/config.json in the form of
tensorrt_llm/tools/multimodal_builder.py, by the calls that it makes. Not yet verified on hardware.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from vila_ros.errors import EngineFailed, InvalidRequest, Unsupported, VilaError
from vila_ros.model.config import read_json
from vila_ros.quantization.out_folder import check_free

INPUT = "input"


def build(onnx: Path, out: Path, max_images: int) -> Path:
    """Write OUT, whole or not at all.

    Raises InvalidRequest where something stands at OUT, Unsupported without tensorrt, EngineFailed.
    """
    check_free(out)
    if max_images < 1:
        raise InvalidRequest(f"max_images is {max_images}; it must be at least 1")
    about = read_json(onnx / "visual.json")
    engine = serialized(import_tensorrt(), onnx / "model.onnx", about["image_size"], max_images)
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    (part / "model.engine").write_bytes(engine)
    config = {
        "builder_config": {
            "precision": "float16",
            "model_type": "vila",
            "strongly_typed": False,
            "max_batch_size": max_images,
            "model_name": "multiModal",
            "output_shape": [-1, about["rows_per_image"], about["hidden_size"]],
            "token_order": about["token_order"],
        }
    }
    (part / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    part.replace(out)
    return out


def serialized(trt: Any, onnx: Path, size: int, max_images: int) -> bytes:
    """The engine's bytes. trt: the tensorrt module. size: side of an image, pixels."""
    logger = trt.Logger(trt.Logger.INFO)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
    parser = trt.OnnxParser(network, logger)
    # The path lets the parser find weights that large graphs keep in files beside them.
    if not parser.parse(onnx.read_bytes(), str(onnx.resolve())):
        errors = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise EngineFailed(f"TensorRT cannot read {onnx}: {errors}")
    config = builder.create_builder_config()
    config.set_flag(trt.BuilderFlag.FP16)
    profile = builder.create_optimization_profile()
    image = (3, size, size)
    usual = max(1, max_images // 2)
    profile.set_shape(INPUT, (1, *image), (usual, *image), (max_images, *image))
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise EngineFailed(f"TensorRT could not build an engine of {onnx}; its log says why")
    return bytes(engine)


def import_tensorrt() -> Any:
    """The tensorrt module. Raises Unsupported where it is missing."""
    try:
        return import_module("tensorrt")
    except ImportError as error:
        raise Unsupported(
            f"a visual engine needs the Python package tensorrt: {error}; build inside the "
            "container of containers/, or where tensorrt_llm is installed"
        ) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(prog="vila_ros.quantization.visual_engine")
    parser.add_argument("--onnx", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--max-images", type=int, default=4)
    args = parser.parse_args(arguments)
    try:
        build(args.onnx, args.out, args.max_images)
    except VilaError as error:
        print(f"visual_engine: {error.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
