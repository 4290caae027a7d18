# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The vision side as an ONNX graph, run by ONNX's own reference where it is installed."""

import json
from importlib.util import find_spec

import pytest
import torch

from vila_ros.errors import InvalidRequest, Unsupported
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.random_checkpoint import write_random_checkpoint
from vila_ros.quantization.visual_onnx import export, load_graph

needs_onnx = pytest.mark.skipif(
    find_spec("onnx") is None,
    reason="onnx is not installed: pip install -r requirements/export.txt",
)


@needs_onnx
@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize("order", ["column", "row"])
def test_the_graph_gives_any_number_of_images_the_rows_of_the_model(small, tmp_path, order):
    import onnx
    from onnx.reference import ReferenceEvaluator

    out = export(small, tmp_path / "onnx", token_order=order)

    model = onnx.load(out / "model.onnx")
    onnx.checker.check_model(model)
    pixels = torch.randn(3, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    (rows,) = ReferenceEvaluator(model).run(None, {"input": pixels.half().numpy()})
    vila = load_vila(small, token_order=order)
    expected = vila.projector(vila.vision_tower(pixels))
    torch.testing.assert_close(torch.from_numpy(rows).float(), expected, atol=2e-2, rtol=1e-2)
    assert json.loads((out / "visual.json").read_text()) == {
        "image_size": 56,
        "rows_per_image": 4,
        "hidden_size": 256,
        "token_order": order,
    }


@pytest.mark.parametrize("taken", ["a folder with files", "a file"])
def test_what_stands_there_is_not_touched(small, tmp_path, taken):
    out = tmp_path / "out"
    kept = out / "kept" if taken == "a folder with files" else out
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("from before")

    with pytest.raises(InvalidRequest, match="exists already; name another folder by --out"):
        export(small, out)
    assert kept.read_text() == "from before"


def test_the_two_token_orders_differ(small):
    """So that the graph's order is known to be tested above."""
    pixels = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    row, column = (
        (lambda vila: vila.projector(vila.vision_tower(pixels)))(load_vila(small, token_order=o))
        for o in ("row", "column")
    )
    assert not torch.allclose(row, column)
    torch.testing.assert_close(row[:, [0, 2, 1, 3]], column)


@pytest.mark.parametrize(
    "overrides",
    [
        {"s2": True, "s2_scales": "56,112", "s2_max_split_size": 56},
        {"image_aspect_ratio": "dynamic"},
    ],
)
def test_several_scales_or_tiles_make_no_visual_engine(tmp_path, overrides):
    from vila_ros.model.config import read_config

    folder = write_random_checkpoint(tmp_path / "model", overrides=overrides)

    with pytest.raises(Unsupported, match="several scales or in tiles"):
        load_graph(read_config(folder), torch.float32)
