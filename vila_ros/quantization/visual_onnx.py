# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Vision tower and projector as one ONNX graph, float16, for a visual engine.

    python -m vila_ros.quantization.visual_onnx --model DIR --out OUT

writes OUT/model.onnx: input "input" [images, 3, S, S], output "encoder_output" [images, rows,
hidden], names as in tensorrt_llm/tools/multimodal_builder.py. The order of the tokens is the
checkpoint's own. TensorRT-LLM's builder exports NVlabs/VILA's modules instead, whose newer code
gives a VILA1.5 checkpoint's tokens in the wrong order, and runs the checkpoint's own code.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import torch
from torch import nn

from vila_ros.errors import Unsupported, VilaError
from vila_ros.model.checkpoint import load_weights, locate
from vila_ros.model.config import VilaConfig, read_config
from vila_ros.model.projector import Projector
from vila_ros.model.vision_tower import VisionTower
from vila_ros.quantization.out_folder import check_free

OPSET = 17
INPUT, OUTPUT = "input", "encoder_output"


class VisualGraph(nn.Module):
    """Normalised pixels to projected rows."""

    def __init__(self, tower: VisionTower, projector: Projector) -> None:
        super().__init__()
        self.tower = tower
        self.projector = projector

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """[B, 3, S, S] -> [B, rows, hidden]."""
        return self.projector(self.tower(pixels))


def load_graph(config: VilaConfig, dtype: torch.dtype) -> VisualGraph:
    """The graph with its weights. Raises Unsupported for models that see several scales."""
    if config.scales is not None or config.image_aspect_ratio in ("dynamic", "dynamic_s2"):
        raise Unsupported(
            f"{config.root} sees images at several scales or in tiles, which no visual engine is "
            "built for; leave the visual engine out, so that the tower runs in torch"
        )
    with torch.device("meta"):
        tower = VisionTower.from_config(config)
        projector = Projector(
            config.projector, config.mm_hidden_size, config.language.hidden_size, config.token_order
        )
    place = torch.device("cpu")
    load_weights(tower, config.vision_folder, tower.published_name, dtype, place)
    load_weights(projector, config.projector_folder, str, dtype, place)
    return VisualGraph(tower, projector).eval()


def export(model: Path, out: Path, token_order: str | None = None) -> Path:
    """Write OUT/model.onnx and OUT/visual.json, whole or not at all; returns OUT.

    Raises InvalidRequest where something stands at OUT, Unsupported as load_graph and write_onnx.
    """
    check_free(out)
    config = read_config(model, token_order)
    graph = load_graph(config, torch.float16)
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    size = config.vision.image_size
    example = torch.zeros(2, 3, size, size, dtype=torch.float16)
    write_onnx(graph, example, part / "model.onnx")
    with torch.no_grad():
        rows, hidden = graph(example[:1]).shape[1:]
    about = {
        "image_size": size,
        "rows_per_image": rows,
        "hidden_size": hidden,
        "token_order": config.token_order,
    }
    (part / "visual.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    part.replace(out)
    return out


def write_onnx(graph: nn.Module, example: torch.Tensor, path: Path) -> None:
    """Export with any number of images. Raises Unsupported without the onnx package."""
    try:
        import_module("onnx")
    except ImportError as error:
        raise Unsupported(
            f"a visual engine is built from ONNX, which cannot be imported: {error}; "
            "pip install -r requirements/export.txt"
        ) from error
    with torch.no_grad():
        # The tracing exporter exists in every torch that TensorRT-LLM pins; the other one does not.
        torch.onnx.export(
            graph,
            (example,),
            str(path),
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "images"}, OUTPUT: {0: "images"}},
            dynamo=False,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(prog="vila_ros.quantization.visual_onnx")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--token-order", choices=("row", "column"))
    args = parser.parse_args(arguments)
    try:
        export(locate(args.model), args.out, args.token_order)
    except VilaError as error:
        print(f"visual_onnx: {error.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
