# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A VILA without its language model."""

import numpy as np
import pytest
import torch
from torch import nn

from vila_ros.engine.interface import ImagePart, Message, TextPart
from vila_ros.engine.vision_front import flattened, load_front
from vila_ros.errors import InvalidCheckpoint, Unsupported
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.config import read_config
from vila_ros.model.random_checkpoint import write_random_checkpoint
from vila_ros.model.vision_tower import VisionTower

IMAGE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.set_num_threads(1)
    return write_random_checkpoint(tmp_path_factory.mktemp("models") / "tiny")


def front(model, **options):
    return load_front(model, device="cpu", dtype=torch.float32, **options)


def test_it_sees_and_lays_out_as_the_whole_model_does(model):
    whole, part = load_vila(model), front(model)
    messages = [Message("user", (ImagePart(IMAGE), TextPart("what")))]

    torch.testing.assert_close(part.encode_images([IMAGE]), whole.encode_images([IMAGE]))
    assert part.render(messages).ids(-200) == whole.render(messages).ids(-200)
    assert part.stop_token_ids == whole.stop_token_ids
    assert part.context_length == whole.context_length


def test_it_needs_no_weights_of_the_language_model(model, tmp_path):
    import shutil

    folder = shutil.copytree(model, tmp_path / "front")
    for path in (folder / "llm").glob("*.safetensors"):
        path.unlink()

    assert front(folder).encode_images([IMAGE])[0].shape == (4, 64)


def test_token_order_and_template_can_be_named(model):
    row, column = (front(model, token_order=order) for order in ("row", "column"))
    seen = [each.encode_images([IMAGE])[0] for each in (row, column)]

    torch.testing.assert_close(seen[0][[0, 2, 1, 3]], seen[1])
    assert front(model, conversation="llama_3").conversation.name == "llama_3"


def test_a_tower_one_module_deeper_as_transformers_4_builds_it_is_read_the_same(model):
    config = read_config(model)
    tower = VisionTower.from_config(config)
    names = set(tower.state_dict())

    class Deeper(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.vision_model = inner
            inner.post_layernorm = nn.LayerNorm(32)
            inner.head = nn.Linear(2, 2)

    tower.encoder = Deeper(tower.encoder)

    assert set(flattened(tower).state_dict()) == names
    assert set(flattened(VisionTower.from_config(config)).state_dict()) == names


class Encoder:
    """An image encoder that shows how it was called."""

    max_images = 2
    rows = 4

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(pixels))
        return pixels.mean((1, 2, 3))[:, None, None].expand(-1, self.rows, 64).half()


def test_an_encoder_in_place_of_the_tower_gets_batches_that_it_takes(model):
    encoder = Encoder()
    rows = front(model, encoder=encoder).encode_images([IMAGE, 255 - IMAGE, IMAGE])

    assert encoder.batches == [2, 1]
    assert [each.shape for each in rows] == [(4, 64)] * 3
    assert rows[0].dtype == torch.float32
    torch.testing.assert_close(rows[0], rows[2])


def test_an_encoder_of_another_model_is_refused(model):
    encoder = Encoder()
    encoder.rows = 196

    with pytest.raises(InvalidCheckpoint, match="196 rows an image"):
        front(model, encoder=encoder)


def test_nvila_is_refused(tmp_path):
    nvila = write_random_checkpoint(tmp_path / "nvila", overrides={"fps": 0.0})

    with pytest.raises(Unsupported, match="NVILA"):
        front(nvila)


def test_several_scales_need_the_tower_in_torch(tmp_path):
    scales = {"s2": True, "s2_scales": "56,112", "s2_max_split_size": 56}
    model = write_random_checkpoint(tmp_path / "s2", overrides=scales)

    with pytest.raises(Unsupported, match="several scales"):
        front(model, encoder=Encoder())
