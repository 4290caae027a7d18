# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning from a folder to a folder: what is learnt, what is written, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from test.training.conftest import picture
from vila_ros.cli.main import main
from vila_ros.datasets.types import ImageSource
from vila_ros.engine.interface import ImagePart, Message, TextPart
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.parity import greedy
from vila_ros.model.random_checkpoint import Shape, write_random_checkpoint
from vila_ros.training.stages import STAGES

COLOURS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220)}
SHAPE = Shape(32, 2, 2, 1, 64, 320, 512, 16, 3, 2, 32, 28, conversation="hermes-2")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("base") / "base", SHAPE)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Which colour fills the picture: 24 samples, and a text-only one at the end."""
    folder = tmp_path_factory.mktemp("data")
    records = []
    for number in range(24):
        name = list(COLOURS)[number % 3]
        pixels = np.full((30, 40, 3), COLOURS[name], np.uint8)
        pixels[:5] = picture(5, 40, number)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        turns = [{"from": "human", "value": "<image>\nColour?"}, {"from": "gpt", "value": name}]
        records.append({"id": number, "image": f"{number}.png", "conversations": turns})
    records.append({"instruction": "Say yes.", "output": "yes"})
    path = folder / "colours.json"
    path.write_text(json.dumps(records, indent=1))
    return path


def finetune(base: Path, data: Path, out: Path, *more: str) -> int:
    given = ["--base", str(base), "--data", str(data), "--out", str(out), "--device", "cpu"]
    return main(["finetune", *given, "--batch", "5", "--learning-rate", "3e-3", *more])


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{file.parent.name}.{name}": tensor
        for file in sorted(folder.glob("*/model.safetensors"))
        for name, tensor in load_file(file).items()
    }


def answer(folder: Path, source: ImageSource) -> str:
    from vila_ros.datasets.reading.pictures import read_picture

    vila = load_vila(folder)
    asked = Message("user", (ImagePart(read_picture(source)), TextPart("Colour?")))
    with torch.no_grad():
        _, tokens = greedy(vila.language_model, vila.embed_prompt(vila.render([asked])), 8)
    return vila.tokenizer.decode(tokens).partition("<|im_end|>")[0].strip()


def test_a_model_learns_its_data_and_is_written_whole(base: Path, data: Path, tmp_path: Path):
    out = tmp_path / "robot"
    more = ("--epochs", "12", "--held-out", "0.16", "--log-every", "100", "--sequences", "2")
    assert finetune(base, data, out, *more) == 0
    right = [
        answer(out, ImageSource(path=data.parent / f"{number}.png")) == list(COLOURS)[number % 3]
        for number in (0, 1, 2, 21, 22, 23)
    ]
    assert all(right), "also the pictures 21 to 23, which were held out"
    before, after = weights(base), weights(out)
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    for part in ("llm", "mm_projector", "vision_tower"):
        assert any(name.startswith(part) for name in changed)
    card = (out / "README.md").read_text()
    assert f"Trained from `{base}`" in card
    assert "| finetune | colours | 21 | 1 times | 0 |" in card
    assert "| finetune | after |" in card
    assert list((out / "logs" / "finetune").glob("events.*")), "TensorBoard's curves are kept"
    assert not out.with_name("robot.training").exists()
    assert json.loads((out / "config.json").read_text())["conversation"] == "hermes-2"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize(
    "more", [(), ("--lora", "8", "--epochs", "40"), ("--precision", "float32")]
)
def test_a_model_learns_on_a_gpu(base: Path, data: Path, tmp_path: Path, more: tuple[str, ...]):
    out = tmp_path / "robot"
    usual = ("--epochs", "12", "--log-every", "100", "--sequences", "2", "--device", "cuda")
    assert finetune(base, data, out, *usual, *more) == 0
    right = [
        answer(out, ImageSource(path=data.parent / f"{number}.png")) == list(COLOURS)[number % 3]
        for number in range(6)
    ]
    assert all(right)
    assert torch.cuda.get_device_name(0) in (out / "README.md").read_text()


def test_stages_follow_each_other_and_tune_their_parts(base: Path, data: Path, tmp_path: Path):
    out = tmp_path / "staged"
    more = ("--stages", "align", "pretrain", "--max-steps", "2", "--data", f"align={data}*2")
    assert finetune(base, data, out, *more) == 0
    before, after = weights(base), weights(out)
    changed = {n.split(".")[0] for n in before if not torch.equal(before[n], after[n])}
    assert changed == {"llm", "mm_projector"}, "the tower is frozen in both"
    card = (out / "README.md").read_text()
    assert "| align | colours | 25 | 2 times | 0 |" in card
    assert "| align | projector |" in card
    assert "| pretrain | language model, projector |" in card


def test_lora_is_merged_and_stands_beside(base: Path, data: Path, tmp_path: Path):
    out = tmp_path / "lora"
    more = ("--lora", "4", "--max-steps", "3", "--tune", "projector", "language_model")
    assert finetune(base, data, out, *more) == 0
    before, after = weights(base), weights(out)
    assert before.keys() == after.keys()
    changed = {n for n in before if not torch.equal(before[n], after[n])}
    assert not any("embed_tokens" in name or "norm" in name for name in changed if "llm" in name)
    name = "model.layers.0.mlp.up_proj"
    adapter = load_file(out / "llm_adapter" / "adapter_model.safetensors")
    up, down = (adapter[f"base_model.model.{name}.lora_{side}.weight"] for side in "BA")
    difference = after[f"llm.{name}.weight"] - before[f"llm.{name}.weight"]
    assert difference.abs().max() > 0
    assert torch.allclose(difference, 2.0 * up @ down, atol=1e-6)


def test_peft_takes_the_adapter(base: Path, data: Path, tmp_path: Path):
    from peft import PeftModel

    out = tmp_path / "lora"
    assert finetune(base, data, out, "--lora", "2", "--max-steps", "1") == 0
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        merged = load_vila(out).language_model(ids).logits
        language_model = load_vila(base).language_model
        adapted = PeftModel.from_pretrained(language_model, out / "llm_adapter")(ids).logits
    assert torch.allclose(merged, adapted, atol=1e-5)


def test_reduced_precision_and_recomputed_activations_train_too(base, data, tmp_path: Path):
    out = tmp_path / "half"
    more = ("--precision", "bfloat16", "--gradient-checkpointing", "--max-steps", "1")
    assert finetune(base, data, out, *more) == 0
    assert all(tensor.dtype == torch.float32 for tensor in weights(out).values()), "as stored"


def test_unfit_samples_are_refused_or_left_out(base: Path, data: Path, tmp_path, capsys):
    records = [*json.loads(data.read_text()), {"image": "absent.png", "caption": "A door."}]
    broken = data.parent / "broken.json"
    broken.write_text(json.dumps(records, indent=1))
    line = broken.read_text()[: broken.read_text().index("absent")].count("\n")
    where = f"{broken}:{line}"
    assert finetune(base, broken, tmp_path / "a", "--check") == 1
    told = capsys.readouterr().out
    assert f"{where}: missing media: {broken.parent}/absent.png: no such file" not in told
    assert f"{where}: missing media: absent.png: no such file" in told
    assert "26 samples checked, 1 unfit (missing media: 1)" in told
    assert finetune(base, broken, tmp_path / "a") == 1
    assert "1 samples are unfit" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
    assert finetune(base, broken, tmp_path / "b", "--on-error", "skip", "--max-steps", "1") == 0
    assert "| finetune | broken | 25 | 1 times | 1 |" in (tmp_path / "b" / "README.md").read_text()


def test_what_is_there_is_never_overwritten(base: Path, data: Path, tmp_path: Path, capsys):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    assert finetune(base, data, tmp_path / "taken") == 1
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "taken" / "file").exists()


def test_a_loss_that_is_no_number_ends_the_run(base: Path, data: Path, tmp_path: Path, capsys):
    broken = tmp_path / "base"
    shutil.copytree(base, broken)
    file = broken / "mm_projector" / "model.safetensors"
    save_file({name: tensor * torch.nan for name, tensor in load_file(file).items()}, file)
    assert finetune(broken, data, tmp_path / "out", "--max-steps", "3") == 1
    assert "the loss of step 1 is nan" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (("--stages", "first"), "stage 'first' is unknown"),
        (("--lora", "0"), "LoRA's rank is 0"),
        (("--lora", "4", "--lora-targets", "head"), "LoRA targets head"),
        (("--tune", "everything"), "tunes everything"),
        (("--sequences", "0"), "--sequences is 0"),
        (("--lora", "4", "--lora-alpha", "-1"), "LoRA's alpha is -1"),
        (("--frames", "0"), "frames is 0"),
        (("--held-out", "1"), "held out is 1.0"),
        (("--conversation", "v0"), "template 'v0' is unknown"),
        (("--llm", "x"), "give either --base DIR"),
        (("--filter", "none"), "filter 'none' is no function"),
        (("--data", "sft=x.json", "--stages", "sft"), "'x.json' is neither a file nor known"),
        (("--length", "40", "--on-error", "refuse"), "25 samples are unfit"),
    ],
)
def test_wrong_arguments_say_what_is_wrong(base, data, tmp_path, capsys, more, complaint: str):
    assert finetune(base, data, tmp_path / "out", *more) == 1
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_every_stage_can_be_named():
    assert set(STAGES) >= {"align", "pretrain", "sft", "nvila-vision", "nvila-video", "finetune"}
