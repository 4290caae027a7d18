# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""vila-nano's recipe runs end to end, and an ended run goes on to the same model."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("pybullet")

from vila_ros.errors import InvalidCheckpoint, InvalidRecording, InvalidRequest, UnusableFolder
from vila_ros.model.embedded import shipped_folder
from vila_ros.training.nano import steering
from vila_ros.training.nano.ceiling import count_kinds, read_counts
from vila_ros.training.nano.export import export
from vila_ros.training.nano.recipe import (
    FIRST_CLIP,
    FIRST_STILL,
    FULL,
    LAST_SEED,
    Recipe,
    StageRecipe,
    plan_shards,
)
from vila_ros.training.nano.shards import PATCHES, WIDTH, ShardPlan, Shards, write_shard
from vila_ros.training.nano.steering import held_out_frames, learnt_frames, prepare_steering, vary
from vila_ros.training.nano.train import Trainer, learning_rate

RECIPE = Recipe(
    shards=plan_shards(10, 4, 6, 4),
    stages=(
        StageRecipe("words", 1, 1e-3, 2),
        StageRecipe("align", 2, 1e-3, 4),
        StageRecipe("pretrain", 1, 1e-3, 2),
        StageRecipe("finetune", 4, 1e-3, 2),
    ),
    mean_every=1,
    save_every=3,
)


def see(pictures):
    """Stands for the vision tower: the mean colour of each patch, in the first channels."""
    patches = pictures.reshape(len(pictures), 16, 14, 16, 14, 3).mean((2, 4)) / 255
    features = np.zeros((len(pictures), PATCHES, WIDTH), np.float16)
    features[..., :3] = patches.reshape(len(pictures), PATCHES, 3)
    return features


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    for plan in RECIPE.shards:
        write_shard(plan, folder, see)
    return Shards(folder, RECIPE.shards)


@pytest.fixture(scope="module")
def trained(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    lines = []
    trainer = Trainer(RECIPE, shards, folder, lines.append)
    trainer.run()
    return trainer, lines


def test_scenes_are_rendered_once_and_numbered_through(shards, tmp_path):
    assert len(shards.records) == 14
    assert shards.records[-1].pictures[-1] + 1 == shards.pictures
    plan = RECIPE.shards[0]
    write_shard(plan, tmp_path, see)
    first = (tmp_path / f"{plan.name}.npy").stat().st_mtime_ns
    write_shard(plan, tmp_path, lambda pictures: pytest.fail("rendered again"))
    assert (tmp_path / f"{plan.name}.npy").stat().st_mtime_ns == first


def test_a_work_folder_of_another_recipe_is_not_taken_up(tmp_path):
    short = ShardPlan("stills_0", "still", 7, 1)
    write_shard(short, tmp_path, see)
    full = replace(short, count=2)
    for take_up in (lambda: write_shard(full, tmp_path, see), lambda: Shards(tmp_path, [full])):
        with pytest.raises(UnusableFolder, match=r"holds 1 scenes .* not the 2 still scenes from"):
            take_up()
    (tmp_path / "stills_0.npy").unlink()
    with pytest.raises(UnusableFolder, match=r"stills_0\.npy is not there; remove stills_0\.json"):
        write_shard(short, tmp_path, see)
    (tmp_path / "stills_0.json").write_text("{")
    with pytest.raises(UnusableFolder, match=r"stills_0\.json cannot be read"):
        Shards(tmp_path, [short])
    with pytest.raises(UnusableFolder, match="cannot be written: Not a directory"):
        write_shard(short, tmp_path / "stills_0.json" / "new", see)


def test_every_stage_is_told_of(trained):
    _, lines = trained
    assert [line.split()[0] for line in lines] == ["words", "align", "pretrain", "finetune"]


def test_a_run_that_was_ended_becomes_the_same_model(trained, shards, tmp_path, monkeypatch):
    class Ended(Exception):
        pass

    ended = Trainer(RECIPE, shards, tmp_path, lambda line: None)
    loss = ended._loss

    def ending(stage, chance):
        if stage.name == "finetune" and (tmp_path / "checkpoint.pt").is_file():
            state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
            if (state["stage"], state["step"]) == (3, 3):
                raise Ended
        return loss(stage, chance)

    monkeypatch.setattr(ended, "_loss", ending)
    with pytest.raises(Ended):
        ended.run()
    resumed = Trainer(RECIPE, shards, tmp_path, lambda line: None)
    resumed.run()
    for name, tensor in trained[0].network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], tensor), name


def test_the_mean_of_the_last_half_is_kept(shards, tmp_path, monkeypatch):
    trainer = Trainer(RECIPE, shards, tmp_path, lambda line: None)
    after = []
    add = trainer._add_to_mean

    def adding(step):
        after.append((step, trainer.network.projector.state_dict()["layers.2.weight"].clone()))
        add(step)

    monkeypatch.setattr(trainer, "_add_to_mean", adding)
    trainer.run()
    assert [step for step, _ in after] == [2, 3]
    mean = torch.stack([weight for _, weight in after]).mean(0)
    kept = trainer.network.projector.state_dict()["layers.2.weight"]
    assert torch.allclose(kept, mean, atol=1e-7)
    assert not torch.equal(kept, after[-1][1])


def test_a_broken_checkpoint_is_named(shards, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"broken")
    with pytest.raises(InvalidCheckpoint, match=r"checkpoint\.pt cannot be taken up"):
        Trainer(RECIPE, shards, tmp_path, lambda line: None).run()


def test_a_checkpoint_of_another_network_is_named(trained, shards, tmp_path):
    trainer, _ = trained
    whole = torch.load(trainer._checkpoint, weights_only=True)
    learnt = {name: tensor[:8] for name, tensor in whole["network"].items()}
    for other in ({**whole, "network": learnt}, {"stage": 0, "step": 0}):
        torch.save(other, tmp_path / "checkpoint.pt")
        with pytest.raises(InvalidCheckpoint, match=r"checkpoint\.pt cannot be taken up"):
            Trainer(RECIPE, shards, tmp_path, lambda line: None).load()


def test_a_tokenizer_is_whole_or_not_there(shards, tmp_path, monkeypatch):
    from vila_ros.training.nano import train

    class Ended(Exception):
        pass

    class EndedWhileSaving:
        def save(self, path):
            Path(path).write_text("{")
            raise Ended

    with monkeypatch.context() as patched:
        patched.setattr(train, "learn_tokenizer", lambda texts: EndedWhileSaving())
        with pytest.raises(Ended):
            Trainer(RECIPE, shards, tmp_path, lambda line: None)
    tokenizer = Trainer(RECIPE, shards, tmp_path, lambda line: None).tokenizer
    assert tokenizer.decode(tokenizer.encode("a red car").ids) == "a red car"
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(InvalidCheckpoint, match=r"tokenizer\.json cannot be taken up"):
        Trainer(RECIPE, shards, tmp_path, lambda line: None)


def test_what_was_trained_loads_as_a_vila_checkpoint(trained, tmp_path):
    from safetensors.torch import save_file

    from vila_ros.model.checkpoint import load_vila
    from vila_ros.model.config import vision_config
    from vila_ros.model.vision_tower import VisionTower

    trainer, _ = trained
    source = shipped_folder()
    shutil.copyfile(source / "config.json", tmp_path / "config.json")
    for name in ("vision_tower", "mm_projector"):
        shutil.copytree(
            source / name, tmp_path / name, ignore=shutil.ignore_patterns("*.safetensors")
        )
    tower = VisionTower(vision_config(tmp_path / "vision_tower"), 5, "patch")
    published = {
        name.removeprefix("encoder.").replace("attention.q_proj", "attention.attention.query")
        .replace("attention.k_proj", "attention.attention.key")
        .replace("attention.v_proj", "attention.attention.value")
        .replace("attention.o_proj", "attention.output.dense"): tensor.contiguous()
        for name, tensor in tower.state_dict().items()
    }  # fmt: skip
    save_file(published, tmp_path / "vision_tower" / "model.safetensors")
    export(trainer.network, trainer.tokenizer, tmp_path)
    vila = load_vila(tmp_path, dtype="float32")
    rows = vila.encode_images([np.zeros((24, 32, 3), np.uint8)])
    assert rows[0].shape == (64, 256)
    stored = trainer.network.language.model.embed_tokens.weight.to(torch.bfloat16).float()
    assert torch.equal(vila.language_model.model.embed_tokens.weight, stored)
    assert json.loads((tmp_path / "llm" / "config.json").read_text())["tie_word_embeddings"]


def test_a_head_learns_to_count_what_the_pictures_show(shards, monkeypatch):
    noise = torch.randn(shards.pictures, PATCHES, WIDTH, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(shards, "features", lambda numbers: noise[numbers])
    lines = []
    read = read_counts(shards, epochs=384, report=lines.append)
    stills = [record for record in shards.records if not record.is_clip]
    wanted = np.stack([count_kinds(record.frames[-1]) for record in stills])
    told = read(noise[[record.pictures[0] for record in stills]].numpy())
    assert told.shape == wanted.shape
    assert (told == wanted)[wanted > 0].mean() > 0.9
    assert "60 of 60 steps" in lines[-1]


def test_no_training_scene_can_be_a_held_out_one():
    for plan in FULL.shards:
        assert FIRST_STILL <= plan.first < plan.first + plan.count <= LAST_SEED
    stills = [plan for plan in FULL.shards if plan.kind == "still"]
    assert max(plan.first + plan.count for plan in stills) <= FIRST_CLIP
    with pytest.raises(InvalidRequest):
        plan_shards(0, 1, 1, 1)


def test_steering_frames_held_out_are_apart_from_those_learnt():
    assert max(learnt_frames(1000)) + 50 < min(held_out_frames(1000))
    assert len(held_out_frames(1000)) == 250


def test_steering_is_learnt_from_varied_and_mirrored_frames(monkeypatch):
    bright_left = np.zeros((120, 160, 3), np.uint8)
    bright_left[:, :60] = 200
    frames = [(bright_left, (-0.5, 0.05, 0.5)[n % 3]) for n in range(300)]
    monkeypatch.setattr(steering, "read_tub", lambda tub: frames)
    learnt = prepare_steering(Path("tub"), see, 224, copies=3)
    clear = sum(abs(frames[n][1]) > 0.1 for n in learnt_frames(300))
    assert len(learnt.answers) == len(learnt.features) == 8 * clear
    assert learnt.answers[:16] == ("left", "right") * 4 + ("right", "left") * 4
    left, right = learnt.features[..., 0].reshape(-1, 16, 2, 8).mean((1, 3)).T
    assert all((left > right) == ([True, False] * (len(left) // 2)))

    monkeypatch.setattr(steering, "read_tub", lambda tub: [(bright_left, 0.1)] * 300)
    with pytest.raises(
        InvalidRecording, match=r"of its 300 frames nobody steers further than 0\.1"
    ):
        prepare_steering(Path("tub"), see, 224)


def test_varied_frames_are_the_frame_moved_and_lit():
    picture = np.zeros((120, 160, 3), np.uint8)
    picture[40:80, 60:100] = 200
    varied = [vary(picture, np.random.default_rng(seed)) for seed in range(30)]
    assert all(each.shape == picture.shape and each.dtype == np.uint8 for each in varied)
    middles = []
    for each in varied:
        rows, columns = np.nonzero(each[..., 0] > int(each.max()) // 2)
        middles.append((rows.mean() / 120 - 0.5, columns.mean() / 160 - 0.5))
        assert 0.7 < len(rows) / (40 * 40) < 1.45
    assert 0.04 < np.abs(middles).max() < 0.1
    assert len({int(each.max()) for each in varied}) > 10
    assert np.array_equal(varied[3], vary(picture, np.random.default_rng(3)))


def test_the_learning_rate_rises_and_falls():
    stage = replace(RECIPE.stages[3], steps=1000)
    rates = [learning_rate(stage, step) for step in range(1000)]
    assert rates[0] < 0.05 * stage.rate
    assert max(rates) > 0.97 * stage.rate
    assert rates[-1] < 0.03 * stage.rate
