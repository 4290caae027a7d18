# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Tokenizers of the llm folder; no code from the folder runs.

VILA1.5 was trained with the slow LlamaTokenizer (legacy=False) of transformers 4.36.2, whose ids
later, converted tokenizers do not always reproduce; so a tokenizer.model is read by sentencepiece
here, the way that class read it. NVILA was trained with the fast tokenizer, which tokenizer.json
holds completely.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vila_ros.errors import InvalidCheckpoint
from vila_ros.model.config import Generation, read_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

# llava/constants.py in NVlabs/VILA; the sentinel comes first because its id does.
SENTINEL = "<vila/sentinel>"
IMAGE_MARK = "<image>"
VIDEO_MARK = "<vila/video>"
SPACE = "▁"


def load_tokenizer(folder: Path, generation: Generation) -> PreTrainedTokenizerBase:
    """The tokenizer of an llm folder, with media tokens added for NVILA.

    Raises InvalidCheckpoint naming the folder or the broken file.
    """
    tokenizer = _read(folder, slow=generation == "vila1.5")
    if generation == "nvila":
        tokenizer.add_tokens([SENTINEL, IMAGE_MARK, VIDEO_MARK], special_tokens=True)
    return tokenizer


def _read(folder: Path, slow: bool) -> PreTrainedTokenizerBase:
    files = ["tokenizer.model", "tokenizer.json"]
    for name in files if slow else reversed(files):
        path = folder / name
        if not path.is_file():
            continue
        try:
            if name == "tokenizer.model":
                settings = folder / "tokenizer_config.json"
                return sentencepiece_tokenizer(path, read_json(settings))
            from transformers import PreTrainedTokenizerFast

            # The generic class takes tokenizer.json as it is; the class that tokenizer_config.json
            # names may rebuild parts of it.
            return PreTrainedTokenizerFast.from_pretrained(folder)
        except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
            raise InvalidCheckpoint(f"{path} is no readable tokenizer: {error}") from error
        except Exception as error:
            # tokenizers and protobuf raise bare Exceptions and types of their own.
            raise InvalidCheckpoint(f"{path} is broken: {error}") from error
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        from transformers import Qwen2Tokenizer

        return Qwen2Tokenizer.from_pretrained(folder)
    raise InvalidCheckpoint(
        f"{folder} has no tokenizer: expected tokenizer.model, tokenizer.json, or vocab.json with "
        "merges.txt"
    )


def sentencepiece_tokenizer(path: Path, settings: Mapping[str, Any]) -> PreTrainedTokenizerBase:
    """A tokenizer.model as the slow LlamaTokenizer (legacy=False) of transformers 4.36.2 reads it.

    settings: tokenizer_config.json. The result is a transformers tokenizer, for decoding and for
    libraries that take one.
    """
    from transformers import AddedToken

    special = {}
    for role, default in (("unk", "<unk>"), ("bos", "<s>"), ("eos", "</s>"), ("pad", None)):
        token = settings.get(f"{role}_token", default)
        content = token.get("content") if isinstance(token, Mapping) else token
        if content:
            special[f"{role}_token"] = AddedToken(content, normalized=False, special=True)
    added = {
        int(index): AddedToken(**{k: v for k, v in token.items() if k != "__type"})
        for index, token in (settings.get("added_tokens_decoder") or {}).items()
    }
    return _tokenizer_class()(
        vocab_file=str(path),
        added_tokens_decoder=added,
        add_bos_token=bool(settings.get("add_bos_token", True)),
        add_eos_token=bool(settings.get("add_eos_token", False)),
        model_max_length=settings.get("model_max_length", int(1e30)),
        chat_template=settings.get("chat_template"),
        padding_side="right",
        clean_up_tokenization_spaces=False,
        **special,
    )


@lru_cache(maxsize=1)
def _tokenizer_class() -> Any:
    """The class, made on first use so that importing this module does not import transformers."""
    from transformers import PreTrainedTokenizer

    class SlowLlamaTokenizer(PreTrainedTokenizer):
        """Sentencepiece with the space rules of LlamaTokenizer (legacy=False), 4.36.2.

        A text gets a leading space, which is dropped again when a special token follows it at
        once; texts between special tokens get none. Sentencepiece itself would strip a leading
        space once its own dummy prefix is off, so such a text is encoded behind the unknown
        token's spelling, whose pieces are cut off afterwards.
        """

        vocab_files_names = {"vocab_file": "tokenizer.model"}  # noqa: RUF012
        model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012

        def __init__(
            self, vocab_file: str, add_bos_token: bool, add_eos_token: bool, **kwargs: Any
        ) -> None:
            self.vocab_file = vocab_file
            self.add_bos_token = add_bos_token
            self.add_eos_token = add_eos_token
            self.sp_model = _load_without_dummy_prefix(vocab_file)
            super().__init__(**kwargs)
            self._guard = str(self.unk_token)
            self._guard_length = len(self.sp_model.encode(self._guard))

        @property
        def vocab_size(self) -> int:
            return int(self.sp_model.get_piece_size())

        def get_vocab(self) -> dict[str, int]:
            vocab = {self.sp_model.id_to_piece(i): i for i in range(self.vocab_size)}
            return {**vocab, **self.added_tokens_encoder}

        def tokenize(self, text: str, **_: Any) -> list[str]:
            if not text:
                return []
            known = self.added_tokens_encoder
            tokens: list[str] = []
            for part in _split(SPACE + text.replace(SPACE, " "), known):
                tokens += [part] if part in known else self._tokenize(part)
            if len(tokens) > 1 and tokens[0] == SPACE and tokens[1] in self.all_special_tokens:
                return tokens[1:]
            return tokens

        def _tokenize(self, text: str, **_: Any) -> list[str]:
            if not text.startswith((SPACE, " ")):
                return list(self.sp_model.encode(text, out_type=str))
            pieces = list(self.sp_model.encode(self._guard + text, out_type=str))
            return pieces[self._guard_length :] if len(pieces) >= self._guard_length else pieces

        def build_inputs_with_special_tokens(
            self, token_ids_0: list[int], token_ids_1: list[int] | None = None
        ) -> list[int]:
            first = [self.bos_token_id] if self.add_bos_token else []
            last = [self.eos_token_id] if self.add_eos_token else []
            ids = first + token_ids_0 + last
            return ids if token_ids_1 is None else ids + first + token_ids_1 + last

        def _convert_token_to_id(self, token: str) -> int:
            return int(self.sp_model.piece_to_id(token))

        def _convert_id_to_token(self, index: int) -> str:
            return str(self.sp_model.id_to_piece(index))

        def convert_tokens_to_string(self, tokens: list[str]) -> str:
            if not tokens:
                return ""
            special = set(self.all_special_tokens)
            text, pieces = "", [tokens[0].removeprefix(SPACE), *tokens[1:]]
            run: list[str] = []
            for piece in pieces:
                if piece in special:
                    text += self.sp_model.decode(run) + piece
                    run = []
                else:
                    run.append(piece)
            return text + str(self.sp_model.decode(run))

    return SlowLlamaTokenizer


def _load_without_dummy_prefix(path: str) -> Any:
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    model_proto = sentencepiece_model_pb2.ModelProto  # type: ignore[attr-defined]
    proto = model_proto.FromString(Path(path).read_bytes())
    proto.normalizer_spec.add_dummy_prefix = False
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(proto.SerializeToString())
    return processor


def _split(text: str, known: Iterable[str]) -> list[str]:
    """The text cut around known tokens, the longest first where several begin at one place."""
    longest_first = sorted(known, key=len, reverse=True)
    if not longest_first:
        return [text]
    pattern = "|".join(map(re.escape, longest_first))
    return [part for part in re.split(f"({pattern})", text) if part]
