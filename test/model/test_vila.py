# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The whole model: what it counts is what it makes, and what it renders."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from test.model.conftest import NVILA, NVILA_S2, VILA15, VILA15_S2, edit_json, make_variant, picture
from vila_ros.engine.interface import ImagePart, Message, TextPart, VideoPart
from vila_ros.errors import InvalidCheckpoint, InvalidImage, InvalidRequest
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.config import MediaEncoderConfig
from vila_ros.model.interleave import MediaSegment, TextSegment
from vila_ros.model.vila import TOWER_BATCH, Vila

SIZES = ((1, 1), (30, 40), (40, 30), (20, 400), (300, 300))
KINDS = ("linear", "mlp2x_gelu", "mlp_downsample", "mlp_downsample_3x3_fix")


def ask(*parts: object, role: str = "user") -> Message:
    return Message(role, tuple(TextPart(p) if isinstance(p, str) else p for p in parts))


VARIANTS = {
    "vila15": (VILA15, {}),
    "vila15-pad": (VILA15, {"image_aspect_ratio": "pad"}),
    "vila15-s2": (VILA15_S2, {}),
    "nvila": (NVILA, {}),
    "nvila-dynamic": (NVILA, {"image_aspect_ratio": "dynamic"}),
    "nvila-dynamic-s2": (NVILA_S2, {}),
    "nvila-dynamic-s2-first": (NVILA_S2, {"s2_resize_output_to_scale_idx": 0}),
    "nvila-dynamic-s2-second": (NVILA_S2, {"s2_resize_output_to_scale_idx": 1}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", VARIANTS)
def test_rows_are_as_many_as_counted(name: str, kind: str, tmp_path: Path):
    golden, changes = VARIANTS[name]
    vila = load_vila(make_variant(golden, tmp_path / "v", kind, conversation="qwen2", **changes))
    images = [picture(*size) for size in SIZES]
    for tiled in (False, True):
        rows = vila.encode_images(images, tiled)
        assert [len(part) for part in rows] == [vila.image_tokens(*s, tiled) for s in SIZES]
        assert {part.shape[1] for part in rows} == {vila.config.language.hidden_size}


def test_images_together_give_what_each_gives_alone(vila15: Vila):
    images = [picture(20 + index, 30, index) for index in range(TOWER_BATCH + 3)]
    for image, rows in zip(images, vila15.encode_images(images), strict=True):
        torch.testing.assert_close(rows, vila15.encode_images([image])[0], atol=1e-5, rtol=1e-5)


def test_no_images_give_no_rows(vila15: Vila, nvila: Vila):
    assert vila15.encode_images([]) == []
    assert nvila.encode_images([]) == []


@pytest.mark.parametrize("pools", [(), ((2, 1, 1),), ((1, 3, 3), (4, 1, 1))])
@pytest.mark.parametrize("count", [1, 3, 4])
def test_clip_rows_are_as_many_as_counted(nvila: Vila, pools: tuple, count: int):
    encoder = MediaEncoderConfig("Clip:", "\n", "\n\n", pools)
    vila = Vila(**{**vars_of(nvila), "config": replace(nvila.config, video_encoder=encoder)})
    frames = [picture(30, 40, seed) for seed in range(count)]
    assert len(vila.encode_video(frames)) == vila.video_tokens([(30, 40)] * count)


def vars_of(vila: Vila) -> dict[str, Any]:
    names = "config tokenizer conversation image_processor vision_tower projector language_model"
    return {name: getattr(vila, name) for name in (*names.split(), "device", "dtype")}


def test_a_pool_that_does_not_fit_is_refused_when_loading(tmp_path: Path):
    encoder = '{"_target_": "x.TSPVideoEncoder", "pool_sizes": [[1, 2, 2]]}'
    folder = make_variant(NVILA, tmp_path / "v", video_encoder=encoder)
    with pytest.raises(InvalidCheckpoint, match="does not divide a grid of 3 x 3"):
        load_vila(folder)


def test_an_empty_clip(nvila: Vila):
    with pytest.raises(InvalidRequest, match="at least one frame"):
        nvila.encode_video([])


def test_a_bad_image_is_refused(vila15: Vila):
    with pytest.raises(InvalidImage):
        vila15.encode_images([picture(1, 1)[:0]])


def test_newlines_follow_images_in_nvila(nvila: Vila):
    rows = nvila.encode_images([picture(30, 40)])[0]
    newline = nvila.embed_tokens(torch.tensor(nvila.tokenizer("\n").input_ids))
    assert torch.equal(rows[-1:], newline)


def test_tiles_are_separated_as_their_marks_are(tmp_path: Path):
    vila = load_vila(make_variant(NVILA, tmp_path / "v", image_aspect_ratio="dynamic"))
    image = picture(100, 200)
    tiles = vila.project([vila.image_processor(image, True)])[0]
    newline = vila.embed_tokens(torch.tensor(vila.tokenizer("\n").input_ids))
    expected = [part for tile in tiles for part in (tile, newline, newline)][:-1]
    assert torch.equal(vila.encode_images([image], tiled=True)[0], torch.cat(expected))


def test_a_rendered_prompt(vila15: Vila):
    image = ImagePart(picture(30, 40))
    layout = vila15.render(
        [
            ask("Be brief.", role="system"),
            ask(image, "What?"),
            ask("A cat.", role="assistant"),
            ask("And here?", image),
        ]
    )
    kinds = [type(segment) for segment in layout.segments]
    assert kinds == [TextSegment, MediaSegment, TextSegment, MediaSegment, TextSegment]
    text = [vila15.tokenizer.decode(s.token_ids) for s in layout.segments[::2]]
    assert text == [
        "<s> Be brief. USER: ",
        "\nWhat? ASSISTANT: A cat.</s>USER: And here?",
        "\n ASSISTANT:",
    ]
    counted = layout.text_tokens + sum(map(vila15.media_tokens, layout.media))
    assert len(vila15.embed_prompt(layout)) == counted


def test_text_alone(vila15: Vila, nvila: Vila):
    for vila in (vila15, nvila):
        layout = vila.render([ask("What is a quaternion?")])
        assert len(layout.segments) == 1
        assert len(vila.embed_prompt(layout)) == layout.text_tokens


@pytest.fixture(scope="module")
def dynamic(tmp_path_factory: pytest.TempPathFactory) -> Vila:
    folder = tmp_path_factory.mktemp("dynamic") / "v"
    return load_vila(make_variant(NVILA, folder, image_aspect_ratio="dynamic"))


def test_only_a_single_image_is_tiled(dynamic: Vila):
    image, clip = ImagePart(picture(100, 200)), VideoPart((picture(30, 40),))
    assert dynamic.render([ask(image, "What?")]).media[0].tiled
    for parts in ([image, image], [image, clip], [clip]):
        assert not any(m.tiled for m in dynamic.render([ask(*parts)]).media)


def test_models_without_tiles_never_tile(vila15: Vila, nvila: Vila):
    for vila in (vila15, nvila):
        assert not vila.render([ask(ImagePart(picture(100, 200)))]).media[0].tiled


def test_a_tiled_image_is_followed_by_a_newline(dynamic: Vila):
    layout = dynamic.render([ask("Look:", ImagePart(picture(100, 200)), "What?")])
    assert dynamic.tokenizer.decode(layout.segments[2].token_ids).startswith("\nWhat?")


def test_clips_and_images_keep_their_order(nvila: Vila):
    image, clip = ImagePart(picture(30, 40)), VideoPart((picture(30, 40, 1), picture(30, 40, 2)))
    layout = nvila.render([ask(clip, "then", image)])
    first, second = nvila.encode_media(layout.media)
    assert torch.equal(first, nvila.encode_video(clip.frames))
    assert torch.equal(second, nvila.encode_images([image.pixels])[0])


def test_marks_around_images(tmp_path: Path):
    folder = make_variant(
        VILA15, tmp_path / "v", mm_use_im_start_end=True, conversation="vicuna_v1"
    )
    vila = load_vila(folder)
    layout = vila.render([ask(ImagePart(picture(30, 40)), "What?")])
    before, after = (vila.tokenizer.decode(s.token_ids) for s in layout.segments[::2])
    assert before.endswith("USER: <im_start>")
    assert after.startswith("<im_end>\nWhat?")


def test_what_ends_an_answer(vila15: Vila, nvila: Vila):
    assert (vila15.stop_token_ids, vila15.stop_strings) == ((2,), ("</s>",))
    assert (nvila.stop_token_ids, nvila.stop_strings) == ((2,), ("<|im_end|>",))


def test_all_ends_of_llama_3(tiny: Path):
    vila = load_vila(tiny, conversation="llama_3")
    names = vila.tokenizer.convert_ids_to_tokens(vila.stop_token_ids)
    assert set(names) == {"</s>", "<|eot_id|>", "<|end_of_text|>"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 2048),
        ({"tokenizer_model_max_length": 1000}, 1000),
        ({"max_position_embeddings": 512}, 512),
        ({"model_max_length": 1500}, 1500),
    ],
)
def test_the_context_is_the_shortest_limit(tmp_path: Path, changes: dict, expected: int):
    folder = make_variant(VILA15, tmp_path / "v", conversation="vicuna_v1")
    edit_json(folder / "llm" / "config.json", **changes)
    assert load_vila(folder).context_length == expected
