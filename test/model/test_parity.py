# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parity: every recorded result is met, every deliberate error is found, and nothing passes
unseen. Folders of other forms are made here by a second, plain implementation."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM, Qwen2ForCausalLM, SiglipVisionModel

from test.model.conftest import (
    GOLDENS,
    NVILA,
    NVILA_S2,
    VILA15,
    VILA15_S2,
    copy_golden,
    edit_json,
    make_variant,
    picture,
)
from test.model.test_projector import blocks_by_hand
from vila_ros.cli.main import main
from vila_ros.errors import InvalidRequest
from vila_ros.model.golden import FileReport, video_encoder
from vila_ros.model.parity import check_folder
from vila_ros.model.tokenizer import load_tokenizer

FILES = [path for golden in GOLDENS for path in sorted(golden.glob("*.npz"))]


@pytest.fixture(scope="module")
def reports() -> dict[Path, FileReport]:
    found = [report for golden in GOLDENS for report in check_folder(golden)]
    return {report.path: report for report in found}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_recorded_result_is_met(reports: dict[Path, FileReport], path: Path):
    report = reports[path]
    assert report.passed, [check for check in report.checks if check.failure]
    stages = {check.stage for check in report.checks if check.note != "given"}
    with np.load(path) as arrays:
        names = set(arrays.files)
    for stage, array in {
        "ids": "generated_ids",  # every file of one prompt has both
        "tokens": "generated_ids",
        "vision": "vision_features",
        "projection": "projected",
        "preprocessing": "image_0",
        "embeddings": "inputs_embeds",
        "loss": "loss",
        "labels": "merged_labels",
    }.items():
        assert (stage in stages) == (array in names), stage
    assert "logits" in stages


def test_what_meta_says_of_tokens_is_checked(reports: dict[Path, FileReport]):
    report = reports[NVILA / "meta.json"]
    assert [check.note for check in report.checks] == ["equal"] * 3


def failures(folder: Path, **options: Any) -> dict[str, set[str]]:
    """File -> stages that failed."""
    return {
        report.path.stem: {check.stage for check in report.checks if check.failure}
        for report in check_folder(folder, **options)
        if not report.passed
    }


# Negative controls


@pytest.mark.parametrize("golden", [VILA15, VILA15_S2, NVILA_S2], ids=lambda path: path.name)
def test_the_other_token_order_is_found(golden: Path):
    order = "column" if golden is NVILA_S2 else "row"
    found = failures(golden, token_order=order)
    for path in golden.glob("*.npz"):
        assert "embeddings" in found[path.stem]


def change_weight(name: str) -> Callable[[Path], None]:
    def change(golden: Path) -> None:
        part, tensor = name.split("/")
        path = golden / "checkpoint" / part / "model.safetensors"
        tensors = load_file(path)
        tensors[tensor].view(-1)[7] += 0.01
        save_file(tensors, path)

    return change


def change_config(**changes: Any) -> Callable[[Path], None]:
    return lambda golden: edit_json(golden / "checkpoint" / "config.json", **changes)


TOWER = "vision_tower/vision_model.encoder.layers.1.mlp.fc1.weight"


@pytest.mark.parametrize(
    ("change", "first", "untouched"),
    [
        (change_weight(TOWER), "vision", {"preprocessing", "ids"}),
        (change_weight("mm_projector/layers.4.weight"), "projection", {"vision", "ids"}),
        (change_weight("llm/model.layers.0.mlp.up_proj.weight"), "logits", {"embeddings"}),
        (change_config(mm_vision_select_layer=-1), "vision", {"preprocessing"}),
        (change_config(image_aspect_ratio="pad"), "preprocessing", {"ids"}),
    ],
)
def test_one_changed_value_is_found_at_its_stage(
    tmp_path: Path, change: Callable[[Path], None], first: str, untouched: set[str]
):
    golden = copy_golden(VILA15, tmp_path / "g")
    change(golden)
    found = failures(golden)["two_images"]
    assert first in found
    assert not untouched & found


@pytest.mark.parametrize("name", ["pixel_values", "vision_features", "projected", "inputs_embeds"])
def test_one_changed_number_is_found(tmp_path: Path, name: str):
    golden = copy_golden(VILA15, tmp_path / "g")
    arrays = dict(np.load(golden / "two_images.npz"))
    arrays[name].reshape(-1)[11] += 2e-4
    np.savez(golden / "two_images.npz", **arrays)
    stages = {
        "pixel_values": "preprocessing",
        "vision_features": "vision",
        "projected": "projection",
        "inputs_embeds": "embeddings",
    }
    assert failures(golden) == {"two_images": {stages[name]}}
    assert failures(golden, tolerance=1e-3) == {}


@pytest.mark.parametrize(
    ("name", "stage"), [("input_ids", "ids"), ("generated_ids", "tokens"), ("logits", "logits")]
)
def test_a_changed_token_or_nan_is_found(tmp_path: Path, name: str, stage: str):
    golden = copy_golden(VILA15, tmp_path / "g")
    arrays = dict(np.load(golden / "two_images.npz"))
    arrays[name].reshape(-1)[-1] = np.nan if name == "logits" else 3
    np.savez(golden / "two_images.npz", **arrays)
    assert failures(golden) == {"two_images": {stage}}


@pytest.mark.parametrize(
    "name", ["loss", "merged_labels", "merged_position_ids", "merged_attention_mask"]
)
def test_a_changed_batch_is_found(tmp_path: Path, name: str):
    golden = copy_golden(VILA15, tmp_path / "g")
    arrays = dict(np.load(golden / "batch_labels.npz"))
    arrays[name] = ~arrays[name] if arrays[name].dtype == bool else arrays[name] + 1
    np.savez(golden / "batch_labels.npz", **arrays)
    stage = "loss" if name == "loss" else "labels"
    assert failures(golden) == {"batch_labels": {stage}}


def test_swapped_images_are_found(tmp_path: Path):
    golden = copy_golden(VILA15, tmp_path / "g")
    arrays = dict(np.load(golden / "two_images.npz"))
    arrays["image_0"], arrays["image_1"] = arrays["image_1"], arrays["image_0"]
    np.savez(golden / "two_images.npz", **arrays)
    assert {"preprocessing", "embeddings"} <= failures(golden)["two_images"]


def test_another_prompt_is_found(tmp_path: Path):
    golden = copy_golden(VILA15, tmp_path / "g")
    meta = json.loads((golden / "meta.json").read_text())
    meta["two_images"]["prompt"] = meta["two_images"]["prompt"].replace("morning", "evening")
    (golden / "meta.json").write_text(json.dumps(meta))
    assert {"template", "ids"} <= failures(golden)["two_images"]


# What cannot be checked


def test_an_array_that_is_not_understood_fails(tmp_path: Path):
    golden = copy_golden(VILA15, tmp_path / "g")
    arrays = dict(np.load(golden / "two_images.npz"))
    np.savez(golden / "two_images.npz", **arrays, attention_maps=np.zeros(3))
    assert failures(golden) == {"two_images": {"file"}}


def test_a_prompt_that_is_missing_fails(tmp_path: Path):
    golden = copy_golden(VILA15, tmp_path / "g")
    edit_json(golden / "meta.json", two_images=None)
    assert failures(golden) == {"two_images": {"ids"}}


def test_frames_that_are_missing_fail(tmp_path: Path):
    golden = copy_golden(NVILA, tmp_path / "g")
    (golden / "video4_as_images.npz").unlink()
    found = failures(golden)
    assert found == {"video4_basic_encoder": {"file"}, "video4_tsp_pool_2_1_1": {"file"}}


def test_a_file_that_holds_nothing_to_compare_fails(tmp_path: Path):
    golden = copy_golden(VILA15, tmp_path / "g")
    np.savez(golden / "empty.npz", image_0=picture(8, 8))
    assert failures(golden) == {"empty": set()}


def test_a_file_that_is_broken_or_pickled_is_refused(tmp_path: Path):
    golden = copy_golden(VILA15, tmp_path / "g")
    np.savez(golden / "two_images.npz", image_0=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InvalidRequest, match=r"two_images\.npz is no readable"):
        check_folder(golden)
    with pytest.raises(InvalidRequest, match=r"holds no \.npz file"):
        check_folder(tmp_path / "g" / "checkpoint" / "llm")


# The command


def test_the_command_succeeds_on_the_parent_folder(capsys: pytest.CaptureFixture[str]):
    assert main(["parity", str(VILA15.parent)]) == 0
    table = capsys.readouterr().out
    assert f"{len(FILES) + 1} files agree" in table
    assert "nvila_2x2fix_70px/video4_tsp_pool_2_1_1" in table


def test_the_command_names_what_failed(capsys: pytest.CaptureFixture[str]):
    assert main(["parity", str(VILA15_S2), "--token-order", "row"]) == 1
    table = capsys.readouterr().out
    assert "FAILED vila15_s2_mlp_downsample_70px/one_image projection: differs by" in table


def test_the_command_checks_the_other_folders_where_one_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["parity", str(tmp_path), str(VILA15_S2)]) == 1
    table = capsys.readouterr().out
    assert f"FAILED {tmp_path}: {tmp_path} holds no .npz file" in table
    assert "vila15_s2_mlp_downsample_70px/one_image" in table


# Folders of other forms, written by a plain implementation that shares no code with the package


def plain_rows(folder: Path, tiles: Sequence[Image.Image], kind: str) -> list[torch.Tensor]:
    """SigLIP's last layer but one, then the projector spelled out."""
    tower = SiglipVisionModel.from_pretrained(folder / "vision_tower").eval()
    w = load_file(folder / "mm_projector" / "model.safetensors")
    rows = []
    for tile in tiles:
        pixels = torch.from_numpy(np.asarray(tile, np.float32)).permute(2, 0, 1) / 127.5 - 1
        with torch.no_grad():
            x = tower(pixels[None], output_hidden_states=True).hidden_states[-2][0]
        if kind == "linear":
            rows.append(x @ w["layers.weight"].T + w["layers.bias"])
        elif kind == "mlp2x_gelu":
            x = torch.nn.functional.gelu(x @ w["layers.0.weight"].T + w["layers.0.bias"])
            rows.append(x @ w["layers.2.weight"].T + w["layers.2.bias"])
        else:
            x = blocks_by_hand(x, 3)
            for norm, line, act in ((1, 2, True), (4, 5, True), (None, 7, False)):
                if norm:
                    names = f"layers.{norm}.weight", f"layers.{norm}.bias"
                    x = torch.nn.functional.layer_norm(x, x.shape[1:], *(w[n] for n in names))
                x = x @ w[f"layers.{line}.weight"].T + w[f"layers.{line}.bias"]
                x = torch.nn.functional.gelu(x) if act else x
            rows.append(x)
    return rows


def plain_answer(model: Any, embeddings: torch.Tensor) -> tuple[torch.Tensor, list[int]]:
    """Logits, and 16 tokens by recomputing everything for each."""
    first, tokens = None, []
    for _ in range(16):
        with torch.no_grad():
            logits = model(inputs_embeds=embeddings[None]).logits[0]
        first = logits if first is None else first
        tokens.append(int(logits[-1].argmax()))
        embeddings = torch.cat([embeddings, model.model.embed_tokens.weight[tokens[-1:]]])
    return first, tokens


def pad_by_hand(image: np.ndarray) -> Image.Image:
    height, width = image.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), 127, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = image
    return Image.fromarray(square).resize((70, 70), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("kind", ["linear", "mlp2x_gelu", "mlp_downsample_3x3_fix"])
def test_a_vila15_folder_with_another_projector_and_padding(tmp_path: Path, kind: str):
    folder = make_variant(VILA15, tmp_path / "g" / "checkpoint", kind, image_aspect_ratio="pad")
    images = [picture(40, 90, 1), picture(90, 60, 2)]
    tokenizer = load_tokenizer(folder / "llm", "vila1.5")
    model = LlamaForCausalLM.from_pretrained(folder / "llm").eval()
    rows = plain_rows(folder, [pad_by_hand(image) for image in images], kind)
    texts = ["Look: ", "\nand\n", "\nWhat changed?"]
    ids = [tokenizer(text).input_ids[int(number > 0) :] for number, text in enumerate(texts)]
    table = model.model.embed_tokens.weight.detach()
    parts = [table[ids[0]], rows[0], table[ids[1]], rows[1], table[ids[2]]]
    write_golden(
        tmp_path / "g",
        "<image>".join(texts),
        model,
        torch.cat(parts),
        input_ids=np.array([*ids[0], -200, *ids[1], -200, *ids[2]]),
        projected=torch.stack(rows).numpy(),
        **{f"image_{number}": image for number, image in enumerate(images)},
    )
    assert failures(tmp_path / "g") == {}


@pytest.mark.parametrize("expanded", [True, False], ids=["prompt-after", "prompt-before"])
def test_an_nvila_folder_with_tiles(tmp_path: Path, expanded: bool):
    folder = make_variant(
        NVILA, tmp_path / "g" / "checkpoint", "linear", image_aspect_ratio="dynamic"
    )
    image = picture(100, 200)
    whole = Image.fromarray(image).resize((280, 140), Image.Resampling.BICUBIC)
    corners = [(x, y) for y in (0, 70) for x in (0, 70, 140, 210)]
    tiles = [whole.crop((x, y, x + 70, y + 70)) for x, y in corners]
    tiles.append(Image.fromarray(image).resize((70, 70), Image.Resampling.BICUBIC))
    tokenizer = load_tokenizer(folder / "llm", "nvila")
    model = Qwen2ForCausalLM.from_pretrained(folder / "llm").eval()
    short = "<|im_start|>user\nSee <image> Describe.<|im_end|>\n<|im_start|>assistant\n"
    prompt = short.replace("<image>", "<image>\n" * len(tiles))
    ids = tokenizer(prompt).input_ids
    rows = iter(plain_rows(folder, tiles, "linear"))
    table = model.model.embed_tokens.weight.detach()
    newline = table[tokenizer("\n").input_ids]
    parts = [torch.cat([next(rows), newline]) if i == 501 else table[[i]] for i in ids]
    pixels = [np.asarray(tile, np.float32).transpose(2, 0, 1) / 127.5 - 1 for tile in tiles]
    write_golden(
        tmp_path / "g",
        prompt if expanded else short,
        model,
        torch.cat(parts),
        input_ids=np.array(ids),
        pixel_values=np.stack(pixels),
        image_0=image,
    )
    assert failures(tmp_path / "g") == {}


def write_golden(
    folder: Path, prompt: str, model: Any, embeddings: torch.Tensor, **arrays: np.ndarray
) -> None:
    logits, tokens = plain_answer(model, embeddings)
    np.savez(
        folder / "case.npz",
        inputs_embeds=embeddings.detach().numpy(),
        logits_tail=logits[-8:].detach().numpy(),
        generated_ids=np.array(tokens),
        **arrays,
    )
    (folder / "meta.json").write_text(json.dumps({"case": {"prompt": prompt}}))


@pytest.mark.parametrize(
    ("stem", "entry", "pools"),
    [
        ("video4_basic_encoder", {}, ()),
        ("video4_tsp_pool_2_1_1", {}, ((2, 1, 1),)),
        ("clip_tsp_pool_2_1_1_4_3_3", {}, ((2, 1, 1), (4, 3, 3))),
        ("clip", {"pool_sizes": [[8, 1, 1]]}, ((8, 1, 1),)),
        ("clip", {"video_encoder": '{"_target_": "T", "pool_sizes": [[1, 3, 3]]}'}, ((1, 3, 3),)),
    ],
)
def test_which_video_encoder_a_file_is_for(stem: str, entry: dict, pools: tuple):
    encoder = video_encoder(stem, entry)
    assert encoder is not None
    assert (encoder.pool_sizes, encoder.end_tokens) == (pools, "\n")
    assert video_encoder("two_images", {}) is None


def test_a_checkpoint_is_found_beside_its_goldens(tmp_path: Path):
    shutil.copytree(VILA15_S2, tmp_path / "g")
    (tmp_path / "g" / "checkpoint").rename(tmp_path / "g" / "model")
    assert failures(tmp_path / "g") == {}
