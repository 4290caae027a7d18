# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""VILA1.5 and NVILA by TensorRT-LLM's LLM API (1.0 and newer), its PyTorch backend.

Vision runs inside TensorRT-LLM, in the thread that hands a request in. What VILA lacks there, KV
reuse and chunked prefill, is kept off. Every request has a thread of its own that waits for the
runtime, because `result(timeout=…)` ignores its timeout in some releases: the reader here never
waits longer than a poll, keeps the deadline itself and aborts. Not yet verified on hardware; see
docs/tensorrt_llm.md.

No code of a checkpoint runs: VILA's classes are built into TensorRT-LLM
(_torch/models/modeling_vila.py registers model_type llava_llama), so trust_remote_code, which its
examples set, is not needed. Since TensorRT-LLM reads a model's configuration with
trust_remote_code on in any case (inputs/registry.py, create_input_processor), a folder that names
code of its own (auto_map) is refused here unless allow_remote_code says otherwise.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from vila_ros.engine.answer_text import Account, check_request
from vila_ros.engine.grammar_schema import plain_schema
from vila_ros.engine.in_flight import InFlight, Ticket, TicketStream
from vila_ros.engine.interface import (
    Capabilities,
    GenerationRequest,
    ImagePart,
    Stage,
    TextChunk,
    VideoPart,
)
from vila_ros.engine.llm_api_thread import POLL_SECONDS, RuntimeThread, read_answer
from vila_ros.engine.machine import installed_version
from vila_ros.engine.media_tokens import MediaTokens
from vila_ros.engine.model_folder import quantization_of, refuse_remote_code
from vila_ros.engine.runtime_errors import runtime_error
from vila_ros.engine.single_turn import choices_grammar, folder_for_template, single_turn
from vila_ros.engine.tensorrt_llm_versions import check_has_llm_api
from vila_ros.errors import (
    EngineDown,
    InvalidCheckpoint,
    InvalidRequest,
    TooManyFrames,
    Unsupported,
)
from vila_ros.model.checkpoint import locate
from vila_ros.model.config import VilaConfig, read_config
from vila_ros.model.conversation import Conversation, choose_conversation
from vila_ros.model.interleave import MediaPart
from vila_ros.model.tokenizer import load_tokenizer

CLOSE_SECONDS = 5.0


class TensorRtLlmPytorchEngine:
    """Runtime "tensorrt_llm_pytorch".

    model: a VILA folder or hub id; int4 where its root has hf_quant_config.json. conversation: as
    in load_vila. max_concurrency: requests side by side. context_length: prompt and answer
    together, tokens. kv_cache_fraction: of the GPU memory free after loading. allow_remote_code:
    run code that the model folder brings; never needed for VILA. options: further keyword
    arguments of tensorrt_llm.LLM.
    """

    def __init__(
        self,
        model: str,
        *,
        conversation: str | None = None,
        max_concurrency: int = 1,
        context_length: int = 4096,
        kv_cache_fraction: float = 0.6,
        allow_remote_code: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if not 0 < kv_cache_fraction < 1:
            raise InvalidRequest(f"kv_cache_fraction is {kv_cache_fraction}; it must be in (0, 1)")
        if max_concurrency < 1 or context_length < 1:
            raise InvalidRequest(
                f"max_concurrency is {max_concurrency} and context_length {context_length}; both "
                "must be at least 1"
            )
        fixed = {"enable_chunked_prefill", "kv_cache_config", "trust_remote_code", "model"}
        if clash := fixed & set(options or {}):
            raise InvalidRequest(
                f"options may not set {', '.join(sorted(clash))}: this engine does"
            )
        self._model = model
        self._given_conversation = conversation
        self._max_concurrency = max_concurrency
        self._context_length = context_length
        self._kv_cache_fraction = kv_cache_fraction
        self._allow_remote_code = allow_remote_code
        self._options = dict(options or {})
        self._in_flight = InFlight()
        self._free = threading.Semaphore(max_concurrency)
        self._vision = threading.Lock()
        self._workspace: tempfile.TemporaryDirectory[str] | None = None
        self._loaded: Capabilities | None = None
        self._llm: Any = None
        self._classes: dict[str, Any] = {}
        self._config: VilaConfig
        self._conversation: Conversation
        self._media_tokens: MediaTokens

    @property
    def capabilities(self) -> Capabilities | None:
        """See Engine."""
        return self._loaded

    def load(self) -> Capabilities:
        """See Engine."""
        if self._loaded is not None:
            return self._loaded
        folder = locate(self._model)
        if (folder / "llm" / "rank0.engine").is_file():
            raise InvalidCheckpoint(
                f"{folder} is an engine folder; use runtime 'tensorrt_llm_engine' for it, or name "
                "the VILA model folder"
            )
        self._config = read_config(folder)
        if not self._allow_remote_code:
            refuse_remote_code(self._config)
        version = self._import_runtime()
        tokenizer = load_tokenizer(self._config.llm_folder, self._config.generation)
        self._conversation = choose_conversation(self._given_conversation, self._config, tokenizer)
        self._workspace = tempfile.TemporaryDirectory(prefix="vila_ros_")
        shown = folder_for_template(
            self._config.root, self._conversation.name, Path(self._workspace.name)
        )
        quantization = quantization_of(self._config)
        try:
            self._llm = self._classes["LLM"](
                model=str(shown),
                trust_remote_code=self._allow_remote_code,
                max_batch_size=self._max_concurrency,
                max_seq_len=self._context_length,
                # Without chunked prefill a prompt must fit into one pass.
                max_num_tokens=self._context_length,
                enable_chunked_prefill=False,
                guided_decoding_backend="xgrammar",
                kv_cache_config=self._classes["KvCacheConfig"](
                    enable_block_reuse=False, free_gpu_memory_fraction=self._kv_cache_fraction
                ),
                **self._options,
            )
        except (RuntimeError, ValueError, KeyError, AssertionError, OSError) as error:
            raise runtime_error(f"{error!r}", f"loading {folder}") from error
        self._media_tokens = MediaTokens.of(self._config)
        per_image = self._media_tokens.most_per_image
        self._loaded = Capabilities(
            model=self._config.name,
            runtime=f"tensorrt_llm_pytorch {version}",
            device="cuda:0",
            dtype=quantization or str(self._config.raw.get("model_dtype", "torch.float16"))[6:],
            max_images=self._context_length // per_image,
            tokens_per_image=per_image,
            context_length=self._context_length,
            max_concurrency=self._max_concurrency,
            structured_output=True,
            video=True,
        )
        return self._loaded

    def generate(self, request: GenerationRequest) -> Iterator[TextChunk]:
        """See Engine. Images beside clips raise Unsupported, as the backend drops the clips."""
        ticket = self._in_flight.open(request)
        return TicketStream(self._stream(ticket), ticket, self._in_flight)

    def cancel(self, request_id: str) -> None:
        """See Engine."""
        self._in_flight.cancel(request_id)

    def close(self) -> None:
        """See Engine."""
        self._in_flight.close(CLOSE_SECONDS)
        llm, self._llm = self._llm, None
        if llm is not None:
            llm.shutdown()
        if self._workspace is not None:
            self._workspace.cleanup()

    def _import_runtime(self) -> str:
        """The version; also takes the classes that are used."""
        version, self._classes = import_runtime()
        return version

    # One answer

    def _stream(self, ticket: Ticket) -> Iterator[TextChunk]:
        request = ticket.request
        check_request(request)
        if self._llm is None:
            raise EngineDown("the engine is not loaded")
        account = Account(ticket.accepted_at)
        inputs = self._inputs(request, account)
        sampling = self._sampling(request)
        yield TextChunk(stage=Stage.QUEUED)
        while not self._free.acquire(timeout=ticket.seconds_left(POLL_SECONDS) or 0.001):
            ticket.check()
        work = RuntimeThread(self._llm, inputs, sampling, self._vision, self._free)
        try:
            account.started_at = time.monotonic()
            yield TextChunk(stage=Stage.ENCODING)
            yield from read_answer(work, ticket, account)
        finally:
            work.abort()

    def _inputs(self, request: GenerationRequest, account: Account) -> dict[str, Any]:
        """The backend's TextPrompt. Raises TooManyFrames by the tokens that media take."""
        text, media = single_turn(request.messages, self._conversation)
        tokens = self._media_tokens.count(media)
        account.image_tokens = tokens
        account.images_encoded = sum(_images(part) for part in media)
        if tokens >= self._context_length:
            raise TooManyFrames(
                f"{account.images_encoded} images take {tokens} tokens of a context of "
                f"{self._context_length}; use fewer frames, or raise context_length"
            )
        if not media:
            return {"prompt": text}
        if any(isinstance(part, VideoPart) for part in media):
            if not all(isinstance(part, VideoPart) for part in media):
                raise Unsupported(
                    "TensorRT-LLM's PyTorch backend takes images or clips in one request, not "
                    "both; send the clip's frames as images"
                )
            clips = [self._clip(part) for part in media if isinstance(part, VideoPart)]
            return {"prompt": text, "multi_modal_data": {"video": clips}}
        pictures = [Image.fromarray(part.pixels) for part in media if isinstance(part, ImagePart)]
        return {"prompt": text, "multi_modal_data": {"image": pictures}}

    def _clip(self, part: VideoPart) -> Any:
        frames = [Image.fromarray(frame) for frame in part.frames]
        return self._classes["VideoData"](frames=frames, metadata={})

    def _sampling(self, request: GenerationRequest) -> Any:
        guided = None
        if request.json_schema is not None:
            # Rewritten so that nothing is left in it that a grammar would silently skip.
            guided = self._classes["GuidedDecodingParams"](
                json=json.dumps(plain_schema(request.json_schema))
            )
        elif request.choices:
            guided = self._classes["GuidedDecodingParams"](grammar=choices_grammar(request.choices))
        how: dict[str, Any] = {"top_k": 1}
        if request.temperature > 0:
            how = {"temperature": request.temperature, "top_p": request.top_p}
            how["seed"] = request.seed & (2**63 - 1)
        # The request's own stop strings are found here, where none of their beginning is streamed.
        return self._classes["SamplingParams"](
            max_tokens=request.max_tokens,
            stop=list(self._conversation.stop_strings) or None,
            guided_decoding=guided,
            **how,
        )


def import_runtime() -> tuple[str, dict[str, Any]]:
    """Version and the classes that are used. Raises Unsupported without them."""
    try:
        import tensorrt_llm
        from tensorrt_llm import LLM, SamplingParams
        from tensorrt_llm.llmapi import GuidedDecodingParams, KvCacheConfig
    except ImportError as error:
        raise Unsupported(
            "runtime 'tensorrt_llm_pytorch' needs tensorrt_llm 1.0 or newer, which this "
            f"interpreter cannot import: {error}. Name the interpreter that has it by "
            "engine.interpreter"
        ) from error
    version = installed_version("tensorrt_llm") or str(tensorrt_llm.__version__)
    check_has_llm_api(version)
    try:
        from tensorrt_llm.inputs.multimodal_data import VideoData
    except ImportError:
        from tensorrt_llm.inputs.utils import VideoData
    return version, {
        "LLM": LLM,
        "SamplingParams": SamplingParams,
        "GuidedDecodingParams": GuidedDecodingParams,
        "KvCacheConfig": KvCacheConfig,
        "VideoData": VideoData,
    }


def installed_api() -> tuple[str, dict[str, Any]]:
    """The version, and what this engine calls of it by the names of runtime_contracts."""
    version, classes = import_runtime()
    llm = classes["LLM"]
    found = {f"llmapi.{name}": value for name, value in classes.items()}
    for name in ("generate_async", "shutdown"):
        found[f"llmapi.LLM.{name}"] = getattr(llm, name, None)
    return version, found


def _images(part: MediaPart) -> int:
    return len(part.frames) if isinstance(part, VideoPart) else 1
