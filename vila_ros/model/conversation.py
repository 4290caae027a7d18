# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Conversation templates: turns of text to the one string a model was trained to continue.

Facts from llava/conversation.py of NVlabs/VILA, branch vila1.5 (6b941da) and main (b760c34).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from vila_ros.errors import InvalidCheckpoint, InvalidRequest
from vila_ros.model.config import VilaConfig
from vila_ros.model.tokenizer import SENTINEL

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

TOKENIZER_TEMPLATE = "tokenizer"


@dataclass(frozen=True)
class Turn:
    """What one side said; media are marks in the text."""

    role: Literal["system", "user", "assistant"]
    text: str


class Conversation(Protocol):
    """A template: how turns become the prompt, and how an answer ends."""

    @property
    def name(self) -> str:
        """A name that find_template knows."""

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """Texts that end the assistant's turn."""

    def prompt(self, turns: Sequence[Turn]) -> str:
        """The whole text; after a user's turn the assistant's is opened.

        Raises InvalidRequest unless turns are an optional system turn, then user and assistant
        alternating.
        """


@dataclass(frozen=True)
class SeparatedTurns:
    """A template that puts fixed strings around every turn."""

    name: str
    stop_strings: tuple[str, ...]
    default_system: str
    system: tuple[str, str]
    user: tuple[str, str]
    assistant: tuple[str, str]
    opening: str

    def prompt(self, turns: Sequence[Turn]) -> str:
        """See Conversation."""
        check_turns(turns)
        system, rest = self.default_system, list(turns)
        if rest[0].role == "system":
            system, rest = rest[0].text, rest[1:]
        around = {"user": self.user, "assistant": self.assistant}
        text = self.system[0] + system + self.system[1]
        for turn in rest:
            before, after = around[turn.role]
            text += before + turn.text + after
        return text + self.opening if rest[-1].role == "user" else text


@dataclass(frozen=True)
class TokenizerTemplate:
    """The Jinja template that the tokenizer carries, run in transformers' sandbox."""

    tokenizer: PreTrainedTokenizerBase
    name: str = TOKENIZER_TEMPLATE

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """The end token, and what the template writes after an answer."""
        asked = self.prompt([Turn("user", "question"), Turn("assistant", SENTINEL)])
        after = self.tokenizer.tokenize(asked.rpartition(SENTINEL)[2])[:1]
        ends = [self.tokenizer.convert_tokens_to_string([token]) for token in after]
        stops = [str(self.tokenizer.eos_token or ""), *ends]
        return tuple(dict.fromkeys(stop for stop in stops if stop.strip()))

    def prompt(self, turns: Sequence[Turn]) -> str:
        """See Conversation."""
        check_turns(turns)
        from jinja2 import TemplateError

        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        try:
            text = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=turns[-1].role == "user"
            )
        except TemplateError as error:
            raise InvalidCheckpoint(f"the tokenizer's chat template fails: {error}") from error
        return str(text)


_VICUNA = SeparatedTurns(
    name="vicuna_v1",
    stop_strings=("</s>",),
    default_system=(
        "A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions."
    ),
    system=("", " "),
    user=("USER: ", " "),
    assistant=("ASSISTANT: ", "</s>"),
    opening="ASSISTANT:",
)


def _llama_3(name: str, assistant: str, end: str, stops: tuple[str, ...]) -> SeparatedTurns:
    def header(role: str) -> str:
        return f"<|start_header_id|>{role}<|end_header_id|>\n\n"

    return SeparatedTurns(
        name=name,
        stop_strings=stops,
        default_system=(
            "You are a helpful language and vision assistant. You are able to understand the "
            "visual content that the user provides, and assist the user with a variety of tasks "
            "using natural language."
        ),
        system=("<|begin_of_text|>" + header("system"), end),
        user=(header("user"), end),
        assistant=(header(assistant), end),
        opening=header(assistant),
    )


def _chat_ml(name: str, default_system: str, end: str) -> SeparatedTurns:
    return SeparatedTurns(
        name=name,
        stop_strings=("<|im_end|>",),
        default_system=default_system,
        system=("<|im_start|>system\n", end),
        user=("<|im_start|>user\n", end),
        assistant=("<|im_start|>assistant\n", end),
        opening="<|im_start|>assistant\n",
    )


TEMPLATES: Mapping[str, SeparatedTurns] = {
    template.name: template
    for template in (
        _VICUNA,
        # The form of Llama-3-VILA1.5-8b-Fix and of main.
        _llama_3("llama_3", "assistant", "<|eot_id|>", ("<|eot_id|>", "<|end_of_text|>")),
        # The form the first Llama-3-VILA1.5-8B was trained with: the assistant's header says
        # "system", and turns end with the end of the text.
        _llama_3("llama_3_first", "system", "<|end_of_text|>", ("<|end_of_text|>",)),
        _chat_ml("hermes-2", "Answer the questions.", "<|im_end|>"),
        _chat_ml("qwen2", "You are a helpful assistant", "<|im_end|>\n"),
        SeparatedTurns("plain", ("\n",), "", ("", ""), ("", "\n"), ("", "\n"), ""),
    )
}

# Parts of published names, the first that matches; only asked when nothing better is known.
NAMES = (
    (r"llama-?3.*fix", "llama_3"),
    (r"llama-?3|vila1\.5-8b", "llama_3_first"),
    (r"vila1\.5-(3b|13b)|nvila-?15b", "vicuna_v1"),
    (r"vila1\.5-40b", "hermes-2"),
)


def find_template(name: str, tokenizer: PreTrainedTokenizerBase) -> Conversation:
    """A template by name; InvalidRequest lists the names there are."""
    if name in TEMPLATES:
        return TEMPLATES[name]
    if name == TOKENIZER_TEMPLATE and tokenizer.chat_template:
        return TokenizerTemplate(tokenizer)
    if name == TOKENIZER_TEMPLATE:
        raise InvalidRequest(
            f"the model's tokenizer has no chat template; choose one of {', '.join(TEMPLATES)}"
        )
    raise InvalidRequest(
        f"conversation template {name!r} is unknown; known are {', '.join(TEMPLATES)} and "
        f"{TOKENIZER_TEMPLATE} (the one that the model's tokenizer carries)"
    )


def choose_conversation(
    explicit: str | None, config: VilaConfig, tokenizer: PreTrainedTokenizerBase
) -> Conversation:
    """The template a model needs: what the caller names, else its config, else its name.

    A choice that rests on a name or on the vocabulary alone is logged as a warning, because a
    wrong template does not fail, it makes answers worse.
    """
    if explicit is not None:
        return find_template(explicit, tokenizer)
    named = config.conversation or config.chat_template
    if named is not None:
        try:
            return find_template(named, tokenizer)
        except InvalidRequest as error:
            raise InvalidCheckpoint(f"{config.root / 'config.json'}: {error.message}") from error
    if config.generation == "nvila" and tokenizer.chat_template:
        return TokenizerTemplate(tokenizer)
    name, why = _guess(config, tokenizer)
    logger.warning(
        "conversation template %s chosen by %s; name it explicitly if answers are poor "
        "(known are %s)",
        name,
        why,
        ", ".join(TEMPLATES),
    )
    return TEMPLATES[name]


def _guess(config: VilaConfig, tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """A template and what it was chosen by."""
    for pattern, name in NAMES:
        if re.search(pattern, config.name, re.IGNORECASE):
            return name, f"the folder's name {config.name!r}"
    vocabulary: Mapping[str, Any] = tokenizer.get_added_vocab()
    if "<|start_header_id|>" in vocabulary:
        return "llama_3", "the tokenizer's special tokens"
    if "<|im_start|>" in vocabulary:
        return "hermes-2", "the tokenizer's special tokens"
    return "vicuna_v1", "default, since neither config.json nor the folder's name tells"


def check_turns(turns: Sequence[Turn]) -> None:
    """InvalidRequest unless turns are [system,] user, assistant, user, …"""
    spoken = [turn.role for turn in turns]
    if spoken[:1] == ["system"]:
        spoken = spoken[1:]
    expected = ["user", "assistant"] * len(spoken)
    if not spoken or spoken != expected[: len(spoken)]:
        raise InvalidRequest(
            f"turns are {', '.join(turn.role for turn in turns) or 'missing'}; expected an "
            "optional system turn, then user and assistant alternating"
        )
