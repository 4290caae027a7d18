# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How the LLM API behaves for VILA, the same in every release; signatures stand in each release.

The text is wrapped into a user turn of the template that the model's path picks, as
VilaInputProcessor does (tensorrt_llm/_torch/models/modeling_vila.py at 0185c2818299). An answer is
the words of that prompt, media counted ("2 images"), one word a token; with guided decoding it is
the smallest JSON of the schema, or the grammar's first word. CONTRACT_DELAY: seconds a token takes.
CONTRACT_ERROR: what generation fails with after the first token.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from contract_recorder import contract, require

PATHS = (
    ("vila1.5-3b", "vicuna_v1"),
    ("vila1.5-8b", "llama_3"),
    ("vila1.5-13b", "vicuna_v1"),
    ("vila1.5-40b", "hermes-2"),
    ("llama-3", "llama_3"),
    ("llama3", "llama_3"),
)


class Answering:
    """What GenerationResult does: iteration yields itself, `aborted` is a method."""

    def __init__(self, prompt: str, words: list[str], limit: int) -> None:
        self.prompt = prompt
        self.prompt_token_ids = list(range(len(prompt.split())))
        self.outputs = [SimpleNamespace(text="", token_ids=[], finish_reason=None)]
        self.finished = False
        self._words = words
        self._limit = limit
        self._abort = threading.Event()

    @contract
    def abort(self) -> None:
        self._abort.set()

    def aborted(self) -> bool:
        return self._abort.is_set()

    def __iter__(self) -> Iterator[Answering]:
        return self

    def __next__(self) -> Answering:
        if self.finished:
            raise StopIteration
        output = self.outputs[0]
        if self._abort.wait(float(os.environ.get("CONTRACT_DELAY", "0"))):
            output.finish_reason, self.finished = "cancelled", True
            return self
        if os.environ.get("CONTRACT_ERROR") and output.token_ids:
            raise RuntimeError(os.environ["CONTRACT_ERROR"])
        count = len(output.token_ids) + 1
        output.token_ids = list(range(count))
        output.text = " ".join(self._words[:count])
        if count >= len(self._words):
            output.finish_reason, self.finished = "stop", True
        elif count >= self._limit:
            output.finish_reason, self.finished = "length", True
        return self


class Model:
    """A model folder as the backend reads it. prompt_limit: max_num_tokens."""

    def __init__(self, model: str, prompt_limit: int | None) -> None:
        folder = Path(model)
        require((folder / "config.json").is_file(), f"{model} has no config.json")
        path = str(folder / "llm").lower()
        self.template = next((name for part, name in PATHS if part in path), "tokenizer")
        self.prompt_limit = prompt_limit
        self.is_shut_down = False

    def answer(self, inputs: Mapping[str, Any], sampling: Any) -> Answering:
        """What generate_async does, image encoding included."""
        if self.is_shut_down:
            raise RuntimeError("LLM is shutting down")
        require(set(inputs) <= {"prompt", "multi_modal_data"}, f"inputs has {sorted(inputs)}")
        media = inputs.get("multi_modal_data", {})
        prompt = inputs["prompt"]
        said = f"{self.template}: {prompt}"
        for kind, mark in (("image", "<image>"), ("video", "<vila/video>")):
            given = media.get(kind, [])
            require(isinstance(given, list), "media are lists")
            require(prompt.count(mark) == len(given), f"{mark} does not match the media")
            said = said.replace(mark, f" {kind} ")
        require(not ({"image", "video"} <= set(media)), "images win over videos, which are dropped")
        for picture in media.get("image", []):
            require(type(picture).__module__.startswith("PIL"), "images are PIL images")
        for clip in media.get("video", []):
            require(len(clip.frames) > 0, "a video has frames")
            said += f" {len(clip.frames)} frames"
        if self.prompt_limit is not None and len(said.split()) > self.prompt_limit:
            raise ValueError(
                f"The sum of prompt length ({len(said.split())}), query length (0) should not "
                f"exceed max_num_tokens ({self.prompt_limit})"
            )
        time.sleep(float(os.environ.get("CONTRACT_VISION", "0")))
        words = guided(sampling.guided_decoding) or said.split()
        return Answering(said, words, sampling.max_tokens)


def guided(params: Any) -> list[str] | None:
    """The words of an answer under guided decoding."""
    if params is None:
        return None
    if params.grammar is not None:
        first = re.match(r'root ::= ("(?:[^"\\]|\\.)*")', params.grammar)
        require(first is not None, f"no grammar: {params.grammar}")
        assert first is not None
        return str(json.loads(first[1])).split(" ")
    schema = json.loads(params.json) if isinstance(params.json, str) else params.json
    return json.dumps(smallest(schema)).split(" ")


def smallest(schema: Mapping[str, Any]) -> Any:
    """The smallest value of a plain schema."""
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return smallest(schema["anyOf"][0])
    kind = schema.get("type")
    if kind == "object":
        return {name: smallest(schema["properties"][name]) for name in schema.get("required", ())}
    return {"array": [], "string": "", "boolean": False, "integer": 0, "number": 0}.get(str(kind))
