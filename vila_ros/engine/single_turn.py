# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A whole conversation as the one user turn that TensorRT-LLM's PyTorch backend takes.

That backend wraps a prompt's text into one user turn of a template that it picks by parts of the
model's path (tensorrt_llm/_torch/models/modeling_vila.py, read at 0185c281). Here the template is
the one that the checkpoint needs: a folder whose path says something else is given to the backend
under another path, and earlier turns are written into the text, between the template's own marks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vila_ros.engine.interface import Message
from vila_ros.errors import InvalidRequest, Unsupported
from vila_ros.model.conversation import Conversation, Turn, check_turns
from vila_ros.model.interleave import MarkStyle, MediaPart, mark_media

# What the backend looks for in the lower-cased path, in its order, and the template that it takes;
# without any of these it takes the tokenizer's own.
PATH_TEMPLATES = (
    ("vila1.5-3b", "vicuna_v1"),
    ("vila1.5-8b", "llama_3"),
    ("vila1.5-13b", "vicuna_v1"),
    ("vila1.5-40b", "hermes-2"),
    ("llama-3", "llama_3"),
    ("llama3", "llama_3"),
)
TOKENIZER_TEMPLATE = "tokenizer"
# The backend writes a newline behind each image and frame itself.
_MARKS = MarkStyle(trims=True, clips=True)
_PLACE = "\x00turn\x00"


def backend_template(folder: Path) -> str:
    """The template that the backend picks for a model folder of this path."""
    path = str(folder / "llm").lower()
    found = (template for part, template in PATH_TEMPLATES if part in path)
    return next(found, TOKENIZER_TEMPLATE)


def folder_for_template(folder: Path, wanted: str, workspace: Path) -> Path:
    """The model folder under a path for which the backend picks the wanted template.

    workspace: an existing folder for a link, used when the folder's own path does not do. Raises
    Unsupported for a template that the backend does not have.
    """
    if backend_template(folder) == wanted:
        return folder
    parts = {template: part for part, template in reversed(PATH_TEMPLATES)}
    name = "model" if wanted == TOKENIZER_TEMPLATE else parts.get(wanted)
    if name is None:
        raise Unsupported(
            f"TensorRT-LLM's PyTorch backend has no conversation template {wanted!r}, only "
            f"{', '.join(sorted({*parts, TOKENIZER_TEMPLATE}))}; use runtime 'torch' or an engine "
            "folder, which take any template"
        )
    link = workspace / name
    link.symlink_to(folder.resolve(), target_is_directory=True)
    if backend_template(link) != wanted:
        raise Unsupported(
            f"the path {link} makes TensorRT-LLM's PyTorch backend pick template "
            f"{backend_template(link)!r} instead of {wanted!r}; set TMPDIR to a path without a "
            "model's name"
        )
    return link


def single_turn(
    messages: Sequence[Message], conversation: Conversation
) -> tuple[str, tuple[MediaPart, ...]]:
    """The text for the backend to wrap, and the media in the order of their marks.

    A system message goes in front of the first user's text, since the backend's own system text
    cannot be replaced. Raises InvalidRequest as check_turns does.
    """
    turns, media = mark_media(messages, _MARKS)
    check_turns(turns)
    if turns[0].role == "system":
        first = replace(turns[1], text=f"{turns[0].text}\n\n{turns[1].text}")
        turns = (first, *turns[2:])
    before, after = conversation.prompt([Turn("user", _PLACE)]).split(_PLACE)
    whole = conversation.prompt(turns)
    if not (whole.startswith(before) and whole.endswith(after)):
        raise InvalidRequest(
            f"conversation template {conversation.name} writes earlier turns so that they do not "
            "fit into one user turn; send one user message"
        )
    return whole[len(before) : len(whole) - len(after)], media


def choices_grammar(choices: Sequence[str]) -> str:
    """An EBNF grammar, as xgrammar reads it, whose only words are the choices.

    JSON's escapes are those of its string literals. Raises InvalidRequest for an empty choice.
    """
    if not all(choices):
        raise InvalidRequest("a choice is empty; choices are non-empty strings")
    words = (json.dumps(choice, ensure_ascii=True) for choice in choices)
    return "root ::= " + " | ".join(words)
