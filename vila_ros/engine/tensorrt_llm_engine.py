# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""VILA1.5 by a TensorRT engine: 0.12 on Jetson AGX Orin, up to 1.2.1 on x86-64.

The language engine runs in TensorRT-LLM's C++ executor; images are encoded here (a visual engine,
or the vision tower in torch) and reach it as a prompt table. Requests are put into the executor
directly, because ModelRunnerCpp.generate keeps request ids to itself, so that nothing could be
cancelled, and serves one call at a time. Not yet verified on hardware; see docs/tensorrt_llm.md.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch

from vila_ros.engine.answer_text import Account, TokenText, check_request
from vila_ros.engine.engine_folder import EngineFolder, read_engine_folder
from vila_ros.engine.in_flight import InFlight, Ticket, TicketStream
from vila_ros.engine.interface import (
    Capabilities,
    FinishReason,
    GenerationRequest,
    Stage,
    TextChunk,
)
from vila_ros.engine.machine import installed_version, this_machine
from vila_ros.engine.preflight import require_usable, rows_per_image
from vila_ros.engine.prompt_table import EngineLimits, TablePrompt, table_prompt
from vila_ros.engine.runtime_errors import runtime_error
from vila_ros.engine.tensorrt_llm_versions import EngineApi, corrected, engine_api
from vila_ros.engine.vision_front import ImageEncoder, load_front
from vila_ros.engine.visual_session import VisualSession
from vila_ros.errors import (
    Cancelled,
    DeadlineExceeded,
    EngineDown,
    InvalidRequest,
    Unsupported,
)
from vila_ros.model.embedding_cache import EmbeddingCache
from vila_ros.model.memory import is_out_of_memory, out_of_memory
from vila_ros.model.prompt import Prompt, lay_out
from vila_ros.model.vila import Vila

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.02
"""How long the executor is waited for before cancellation and deadline are looked at again."""
DRAIN_SECONDS = 1.0
"""How long a cancelled request's last response is waited for."""
CLOSE_SECONDS = 5.0
_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


class TensorRtLlmEngine:
    """Runtime "tensorrt_llm_engine".

    model: an engine folder (see engine_folder). checkpoint: the VILA folder, where the engine
    folder does not hold its tokenizer and configuration. visual_engine_dir: where the visual engine
    stands alone. conversation, token_order: as in load_vila; None takes the manifest's, then the
    checkpoint's. kv_cache_fraction: of the GPU memory that is free after loading, for the KV cache.
    kv_cache_reuse: keep the KV cache of equal prompt beginnings, where release and engine can.
    embedding_cache_mb: image embeddings kept, by the images' keys.
    """

    def __init__(
        self,
        model: str,
        *,
        checkpoint: str | None = None,
        visual_engine_dir: str | None = None,
        conversation: str | None = None,
        token_order: str | None = None,
        device: str = "cuda:0",
        kv_cache_fraction: float = 0.6,
        kv_cache_reuse: bool = True,
        embedding_cache_mb: int = 256,
    ) -> None:
        if not 0 < kv_cache_fraction < 1:
            raise InvalidRequest(f"kv_cache_fraction is {kv_cache_fraction}; it must be in (0, 1)")
        if embedding_cache_mb < 0:
            raise InvalidRequest(f"embedding_cache_mb is {embedding_cache_mb}; it must not be < 0")
        self._model = model
        self._checkpoint = checkpoint
        self._visual_engine_dir = visual_engine_dir
        self._conversation = conversation
        self._token_order = token_order
        self._device = device
        self._kv_cache_fraction = kv_cache_fraction
        self._kv_cache_reuse = kv_cache_reuse
        self._embeddings = EmbeddingCache(embedding_cache_mb << 20)
        self._in_flight = InFlight()
        self._encoding = threading.Lock()
        self._loaded: Capabilities | None = None
        self._executor: Any = None
        self._bindings: Any = None
        self._api: EngineApi
        self._vila: Vila
        self._limits: EngineLimits

    @property
    def capabilities(self) -> Capabilities | None:
        """See Engine."""
        return self._loaded

    def load(self) -> Capabilities:
        """See Engine. Raises the first error of the preflight before anything is loaded."""
        if self._loaded is not None:
            return self._loaded
        folder = read_engine_folder(
            self._model, visual_engine_dir=self._visual_engine_dir, checkpoint=self._checkpoint
        )
        require_usable(folder, this_machine(torch.device(self._device).index or 0))
        runner_class, version = self._import_runtime()
        before = _free_bytes(self._device)
        self._vila = self._load_front(folder)
        language = folder.language
        reuse = self._kv_cache_reuse and self._api.extra_ids and language.paged_context
        # On a Jetson, whose memory is shared, reading the file would hold the weights twice.
        further = {"use_mmap": True} if self._api.mmap else {}
        try:
            runner = runner_class.from_dir(
                engine_dir=str(language.folder),
                rank=0,
                kv_cache_free_gpu_memory_fraction=self._kv_cache_fraction,
                kv_cache_enable_block_reuse=reuse,
                **further,
            )
        except (RuntimeError, AssertionError, ValueError, OSError) as error:
            raise runtime_error(str(error), f"loading {language.folder}") from error
        # The runner holds nothing else that is needed; its executor answers until shut down.
        self._executor = getattr(runner, self._api.executor)
        self._limits = EngineLimits(
            vocabulary=int(runner.vocab_size),
            table_rows=language.rows_per_request,
            rows_per_image=rows_per_image(folder),
            input_tokens=language.max_input_len,
            sequence_tokens=language.max_seq_len,
        )
        self._loaded = Capabilities(
            model=folder.manifest.model if folder.manifest else folder.root.resolve().name,
            runtime=f"tensorrt_llm_engine {version}",
            device=self._device,
            dtype=language.quantization or language.dtype,
            max_images=self._limits.images,
            tokens_per_image=self._limits.rows_per_image,
            context_length=language.max_seq_len,
            max_concurrency=language.max_batch_size,
            video=True,
            memory_bytes=max(before - _free_bytes(self._device), 0),
        )
        return self._loaded

    def generate(self, request: GenerationRequest) -> Iterator[TextChunk]:
        """See Engine. JSON schemas and choices raise Unsupported: the engine path has no guided
        decoding in 0.12, and the runner of later releases does not pass it on."""
        ticket = self._in_flight.open(request)
        return TicketStream(self._stream(ticket), ticket, self._in_flight)

    def cancel(self, request_id: str) -> None:
        """See Engine."""
        self._in_flight.cancel(request_id)

    def close(self) -> None:
        """See Engine."""
        self._in_flight.close(CLOSE_SECONDS)
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown()

    # Loading

    def _import_runtime(self) -> tuple[Any, str]:
        """ModelRunnerCpp and the version; also sets what differs between versions."""
        version, runner_class, bindings = import_runtime()
        self._api = corrected(engine_api(version), bindings, runner_class)
        self._bindings = bindings
        return runner_class, version

    def _load_front(self, folder: EngineFolder) -> Vila:
        encoder: ImageEncoder | None = None
        if folder.visual is not None:
            encoder = VisualSession(folder.visual, self._device)
        manifest = folder.manifest
        assert folder.checkpoint is not None  # require_usable
        return load_front(
            folder.checkpoint,
            device=self._device,
            dtype=_DTYPES[folder.language.dtype],
            conversation=self._conversation or (manifest.conversation if manifest else None),
            token_order=self._token_order or (manifest.token_order if manifest else None),
            encoder=encoder,
        )

    # One answer

    def _stream(self, ticket: Ticket) -> Iterator[TextChunk]:
        request = ticket.request
        account = Account(ticket.accepted_at)
        check_request(request)
        if request.json_schema is not None or request.choices:
            raise Unsupported(
                "runtime 'tensorrt_llm_engine' cannot hold an answer to a JSON schema or to "
                "choices; ask for text, or use runtime 'tensorrt_llm_pytorch' or 'torch'"
            )
        if self._executor is None:
            raise EngineDown("the engine is not loaded")
        yield TextChunk(stage=Stage.QUEUED)
        with self._vision(ticket):
            prompt = lay_out(self._vila, request.messages)
            self._limits.check(prompt, request.max_tokens)
            account.started_at = time.monotonic()
        yield TextChunk(stage=Stage.ENCODING)
        with self._vision(ticket):
            filled = self._encode(prompt, account)
        account.prompt_tokens, account.image_tokens = len(prompt), prompt.image_rows
        text = TokenText(
            decode=self._decode,
            stop_token_ids=self._vila.stop_token_ids,
            stop_strings=(*request.stop, *self._vila.stop_strings),
            max_tokens=request.max_tokens,
            account=account,
        )
        yield from self._generate(ticket, filled, text)

    @contextmanager
    def _vision(self, ticket: Ticket) -> Iterator[None]:
        """Hold the model's front, which serves one thread at a time."""
        while not self._encoding.acquire(timeout=ticket.seconds_left(POLL_SECONDS) or 0.001):
            ticket.check()
        try:
            ticket.check()
            yield
        finally:
            self._encoding.release()

    def _encode(self, prompt: Prompt, account: Account) -> TablePrompt:
        """Encode the images that are not in the cache, and put all into the table."""
        began = time.monotonic()
        rows: dict[bytes, torch.Tensor] = {}
        missing = {}
        for medium in prompt.media:
            cached = self._embeddings.get(medium.digest)
            if cached is None:
                missing[medium.digest] = medium
            else:
                rows[medium.digest] = cached
        try:
            encoded = self._vila.encode_media([medium.segment for medium in missing.values()])
            for digest, embedding in zip(missing, encoded, strict=True):
                rows[digest] = embedding
                self._embeddings.put(digest, embedding)
            filled = table_prompt(prompt, rows, self._limits)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                place = torch.device(self._device)
                raise out_of_memory(error, f"encoding {len(missing)} images", place) from error
            raise runtime_error(str(error), f"encoding {len(missing)} images") from error
        account.images_encoded = sum(medium.images for medium in missing.values())
        account.images_cached = prompt.images - account.images_encoded
        account.vision_time = time.monotonic() - began
        return filled

    def _decode(self, ids: Any) -> str:
        return str(self._vila.tokenizer.decode(ids, skip_special_tokens=True))

    def _generate(
        self, ticket: Ticket, filled: TablePrompt, text: TokenText
    ) -> Iterator[TextChunk]:
        executor = self._executor
        if executor is None:
            raise Cancelled("The engine was closed.")
        ended = False
        try:
            request_id = executor.enqueue_request(self._request(ticket.request, filled))
        except (RuntimeError, ValueError) as error:
            raise runtime_error(str(error), "taking the request in") from error
        try:
            while not ended:
                ticket.check()
                for response in self._responses(executor, request_id, ticket):
                    if response.has_error():
                        ended = True
                        raise runtime_error(response.error_msg, "generating")
                    result = response.result
                    ended = bool(result.is_final)
                    chunk = text.add(result.output_token_ids[0])
                    if text.reason is not None or ended:
                        yield chunk
                        yield text.finish(text.reason or self._reason(result))
                        return
                    if chunk.tokens:
                        yield chunk
        finally:
            if not ended:
                self._end(executor, request_id)

    def _request(self, request: GenerationRequest, filled: TablePrompt) -> Any:
        """The executor's own form of a request."""
        sampling: dict[str, Any] = {"top_k": 1}
        if request.temperature > 0:
            # top_k 0 leaves the choice to top_p alone; the seed is an unsigned 64-bit number.
            sampling = {"top_k": 0, "top_p": request.top_p, "temperature": request.temperature}
            sampling[self._api.seed] = request.seed & (2**63 - 1)
        end_id, *others = self._vila.stop_token_ids or (None,)
        table = None
        if filled.table is not None:
            told = {"input_token_extra_ids": filled.extra_ids} if self._api.extra_ids else {}
            table = self._bindings.PromptTuningConfig(embedding_table=filled.table, **told)
        padding = self._vila.tokenizer.pad_token_id
        return self._bindings.Request(
            **{self._api.max_tokens: request.max_tokens},
            input_token_ids=filled.input_ids,
            streaming=True,
            sampling_config=self._bindings.SamplingConfig(beam_width=1, **sampling),
            output_config=self._bindings.OutputConfig(exclude_input_from_output=True),
            end_id=end_id,
            pad_id=end_id if padding is None else padding,
            stop_words=[[token] for token in others] or None,
            prompt_tuning_config=table,
        )

    def _responses(self, executor: Any, request_id: int, ticket: Ticket) -> list[Any]:
        """What has come for the request; empty after POLL_SECONDS without anything."""
        wait = timedelta(seconds=max(ticket.seconds_left(POLL_SECONDS), 0.001))
        try:
            return list(executor.await_responses(request_id, wait))
        except RuntimeError as error:
            raise runtime_error(str(error), "generating") from error

    def _reason(self, result: Any) -> FinishReason:
        """Why the executor ended an answer that does not say so itself."""
        if not self._api.finish_reasons:
            return FinishReason.STOP
        reason = result.finish_reasons[0]
        reasons = self._bindings.FinishReason
        if reason == reasons.CANCELLED:
            raise Cancelled("The runtime cancelled the request.")
        if reason == reasons.TIMED_OUT:
            raise DeadlineExceeded("The runtime ended the request at its time limit.")
        return FinishReason.LENGTH if reason == reasons.LENGTH else FinishReason.STOP

    @staticmethod
    def _end(executor: Any, request_id: int) -> None:
        """Cancel a request and take its last response away, so that none is kept for ever."""
        try:
            executor.cancel_request(request_id)
            until = time.monotonic() + DRAIN_SECONDS
            while time.monotonic() < until:
                responses = executor.await_responses(request_id, timedelta(seconds=POLL_SECONDS))
                if any(each.has_error() or each.result.is_final for each in responses):
                    return
        except RuntimeError as error:
            # The answer has ended for its reader; a broken executor shows at the next request.
            logger.warning("cancelling request %d: %s", request_id, error)


def import_runtime() -> tuple[str, Any, Any]:
    """Version, ModelRunnerCpp and the executor's bindings. Raises Unsupported without them."""
    try:
        import tensorrt_llm
        from tensorrt_llm.bindings import executor as bindings
        from tensorrt_llm.runtime import ModelRunnerCpp
    except ImportError as error:
        raise Unsupported(
            "runtime 'tensorrt_llm_engine' needs tensorrt_llm, which this interpreter cannot "
            f"import: {error}. Name the interpreter that has it by engine.interpreter"
        ) from error
    version = installed_version("tensorrt_llm") or str(tensorrt_llm.__version__)
    return version, ModelRunnerCpp, bindings


def installed_api() -> tuple[str, dict[str, Any]]:
    """The version, and what this engine calls of it by the names of runtime_contracts."""
    version, runner, bindings = import_runtime()
    names = ("Request", "SamplingConfig", "OutputConfig", "PromptTuningConfig")
    methods = ("enqueue_request", "await_responses", "cancel_request", "shutdown")
    found = {f"executor.{name}": getattr(bindings, name, None) for name in names}
    executor = getattr(bindings, "Executor", None)
    found |= {f"executor.Executor.{name}": getattr(executor, name, None) for name in methods}
    found["runtime.ModelRunnerCpp.from_dir"] = getattr(runner, "from_dir", None)
    return version, found


def _free_bytes(device: str) -> int:
    place = torch.device(device)
    return int(torch.cuda.mem_get_info(place)[0]) if place.type == "cuda" else 0
