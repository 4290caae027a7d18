# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A conversation as the one user turn that TensorRT-LLM wraps itself."""

from pathlib import Path

import numpy as np
import pytest

from vila_ros.engine.interface import ImagePart, Message, TextPart
from vila_ros.engine.single_turn import (
    TOKENIZER_TEMPLATE,
    backend_template,
    folder_for_template,
    single_turn,
)
from vila_ros.errors import InvalidRequest, Unsupported
from vila_ros.model.conversation import TEMPLATES, Turn

IMAGE = ImagePart(np.zeros((4, 4, 3), dtype=np.uint8))


def said(role: str, text: str, *images: ImagePart) -> Message:
    return Message(role, (*images, TextPart(text)))


@pytest.mark.parametrize("name", ["vicuna_v1", "llama_3", "hermes-2"])
def test_what_the_backend_wraps_around_it_gives_the_whole_conversation(name):
    template = TEMPLATES[name]
    turns = [Turn("user", "<image>what"), Turn("assistant", "a dog"), Turn("user", "and now")]

    text, media = single_turn(
        [said("user", "what", IMAGE), said("assistant", "a dog"), said("user", "and now")],
        template,
    )

    assert template.prompt([Turn("user", text)]) == template.prompt(turns)
    assert len(media) == 1


def test_a_system_text_stands_in_front_of_the_first_question():
    text, _ = single_turn([said("system", "Be short."), said("user", "what")], TEMPLATES["llama_3"])

    assert text == "Be short.\n\nwhat"


def test_turns_out_of_order_are_refused():
    with pytest.raises(InvalidRequest, match="alternating"):
        single_turn([said("assistant", "hello")], TEMPLATES["vicuna_v1"])


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/models/VILA1.5-3b", "vicuna_v1"),
        ("/models/Llama-3-VILA1.5-8B", "llama_3"),
        ("/models/VILA1.5-40b", "hermes-2"),
        ("/models/my-Llama3", "llama_3"),
        ("/models/NVILA-8B", TOKENIZER_TEMPLATE),
    ],
)
def test_the_backend_picks_by_the_path(path, template):
    """As tensorrt_llm/_torch/models/modeling_vila.py does, by the first part that matches."""
    assert backend_template(Path(path)) == template


def test_a_folder_whose_path_says_the_right_thing_is_given_as_it_is(tmp_path):
    folder = tmp_path / "VILA1.5-13b"
    folder.mkdir()

    assert folder_for_template(folder, "vicuna_v1", tmp_path) == folder


@pytest.mark.parametrize("wanted", ["vicuna_v1", "llama_3", "hermes-2", TOKENIZER_TEMPLATE])
def test_a_folder_whose_path_says_the_wrong_thing_is_given_by_a_link(tmp_path, wanted):
    folder = tmp_path / "in" / "llama-3" / "vila1.5-3b"
    folder = folder if wanted != "vicuna_v1" else tmp_path / "in" / "llama-3"
    folder.mkdir(parents=True)
    workspace = tmp_path / "work"
    workspace.mkdir()

    link = folder_for_template(folder, wanted, workspace)

    assert backend_template(link) == wanted
    assert link.resolve() == folder


def test_a_workspace_whose_own_path_decides_is_told(tmp_path):
    folder = tmp_path / "vila1.5-3b"
    workspace = tmp_path / "tmp-llama3"
    folder.mkdir()
    workspace.mkdir()

    with pytest.raises(Unsupported, match="TMPDIR"):
        folder_for_template(folder, TOKENIZER_TEMPLATE, workspace)
