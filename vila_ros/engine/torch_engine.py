# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""VILA in torch behind the Engine interface. Only a worker process imports this module."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import torch

from vila_ros.engine.interface import Capabilities, GenerationRequest, TextChunk
from vila_ros.engine.structured import Grammars
from vila_ros.errors import InvalidRequest, NotActive, Unsupported
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.generation import Generator
from vila_ros.model.memory import is_out_of_memory, out_of_memory
from vila_ros.model.vila import Vila


class TorchEngine:
    """The reference runtime: every published checkpoint, on the CPU or a CUDA GPU.

    model: folder or hub id. device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1".
    dtype: "auto" (bfloat16 on CUDA GPUs that have it, else float16 there; float32 on the CPU),
    "float32", "bfloat16", "float16". max_concurrency: answers generated side by side; each holds
    keys and values of up to context_length positions (None: the model's own). embedding_cache_mb:
    MiB for vision embeddings of recent images. threads: of the CPU; None is torch's choice.
    compile: on CUDA, compute by kernels made for it, which Triton compiles at load (seconds, the
    first time); false: by torch's own alone, many times as slow. revision, conversation,
    token_order: see vila_ros.model.checkpoint.

    An answer cut at max_tokens ends with FinishReason.LENGTH, also when a schema asked for more;
    the Perceiver then reports InvalidOutput. choices are answered from their exact probabilities,
    see vila_ros.model.choices.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        max_concurrency: int = 4,
        context_length: int | None = None,
        embedding_cache_mb: int = 256,
        threads: int | None = None,
        compile: bool = True,
        revision: str | None = None,
        conversation: str | None = None,
        token_order: str | None = None,
    ) -> None:
        for name, value in (("max_concurrency", max_concurrency), ("threads", threads)):
            if value is not None and value < 1:
                raise InvalidRequest(f"{name} is {value}; it must be at least 1")
        if context_length is not None and context_length < 2:
            raise InvalidRequest(f"context_length is {context_length}; it must be at least 2")
        if embedding_cache_mb < 0:
            raise InvalidRequest(f"embedding_cache_mb is {embedding_cache_mb}; it must not be < 0")
        self._model = model
        self._device = device
        self._dtype = dtype
        self._max_concurrency = max_concurrency
        self._context_length = context_length
        self._embedding_cache_bytes = embedding_cache_mb << 20
        self._threads = threads
        self._compile = compile
        self._revision = revision
        self._conversation = conversation
        self._token_order = token_order
        self._lock = threading.Lock()
        self._generator: Generator | None = None
        self._grammars: Grammars | None = None
        self._capabilities: Capabilities | None = None

    @property
    def capabilities(self) -> Capabilities | None:
        """What it can do; None until it has been loaded once."""
        return self._capabilities

    def load(self) -> Capabilities:
        """Load the model unless it is loaded.

        Raises InvalidCheckpoint, InvalidRequest, Unsupported and OutOfMemory.
        """
        with self._lock:
            if self._generator is None:
                device = choose_device(self._device)
                try:
                    self._load(device)
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    raise out_of_memory(error, f"loading {self._model}", device) from None
            assert self._capabilities is not None
            return self._capabilities

    def generate(self, request: GenerationRequest) -> Iterator[TextChunk]:
        """Stream the answer; see Engine.generate. Closing the iterator cancels."""
        generator, grammars = self._generator, self._grammars
        if generator is None or grammars is None:
            return _raising(NotActive("the engine is not loaded; call load() first"))
        schema = request.json_schema
        if schema is None:
            return generator.submit(request)
        return generator.submit(request, lambda: grammars.json_constraint(schema))

    def cancel(self, request_id: str) -> None:
        """End a request in flight between two tokens; unknown ids are ignored."""
        generator = self._generator
        if generator is not None:
            generator.cancel(request_id)

    def close(self) -> None:
        """Release everything; requests in flight end with Cancelled."""
        with self._lock:
            generator, self._generator, self._grammars = self._generator, None, None
            if generator is not None:
                generator.close()

    def _load(self, device: torch.device) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        vila = load_vila(
            self._model,
            device=str(device),
            dtype=choose_dtype(self._dtype, device),
            revision=self._revision,
            conversation=self._conversation,
            token_order=self._token_order,
        )
        generator = Generator(
            vila,
            max_concurrency=self._max_concurrency,
            context_length=self._context_length,
            embedding_cache_bytes=self._embedding_cache_bytes,
            compiled=self._compile,
        )
        vocab_size = vila.language_model.get_output_embeddings().weight.shape[0]
        self._grammars = Grammars(vila.tokenizer, vocab_size, vila.stop_token_ids)
        alone, among_others = image_rows(vila)
        modules = (vila.vision_tower, vila.projector, vila.language_model)
        weights = sum(
            tensor.nbytes
            for module in modules
            for tensor in (*module.parameters(), *module.buffers())
        )
        self._capabilities = Capabilities(
            model=self._model.rstrip("/").rsplit("/", 1)[-1],
            runtime="torch",
            device=str(device),
            dtype=str(vila.dtype).removeprefix("torch."),
            max_images=(generator.context_length - 1) // among_others,
            tokens_per_image=alone,
            context_length=generator.context_length,
            max_concurrency=self._max_concurrency,
            structured_output=True,
            choice_probabilities=True,
            video=vila.config.generation == "nvila",
            memory_bytes=weights + generator.cache.limit_bytes,
        )
        self._generator = generator


def choose_device(name: str) -> torch.device:
    """The device of a name; "auto" is CUDA where there is one. Raises Unsupported."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise Unsupported(f"device {name!r} is unknown; use auto, cpu or cuda") from None
    if device.type not in ("cpu", "cuda"):
        raise Unsupported(f"device {name!r} is not supported; use auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise Unsupported(
            f"device {name!r} asked for, but torch sees {torch.cuda.device_count()} CUDA devices; "
            "use device cpu, or a torch build for CUDA and a working driver"
        )
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    return device


def choose_dtype(name: str, device: torch.device) -> str:
    """The dtype of a name; "auto" is the device's usual one. Raises Unsupported."""
    if name == "auto":
        if device.type == "cpu":
            return "float32"
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    if name not in ("float32", "bfloat16", "float16"):
        raise Unsupported(f"dtype {name!r} is unknown; use auto, float32, bfloat16 or float16")
    if name == "float16" and device.type == "cpu":
        raise Unsupported("float16 is not supported on the CPU; use bfloat16 or float32")
    return name


def image_rows(vila: Vila) -> tuple[int, int]:
    """The most rows that one image takes: alone in its prompt (where it may be tiled), and among
    others."""
    shapes = [(448, 448 * k) for k in range(1, 13)] + [(448 * k, 448) for k in range(2, 13)]
    among_others = max(vila.image_tokens(*shape) for shape in shapes)
    if not (vila.image_processor.tiles_images and vila.config.generation == "nvila"):
        return among_others, among_others
    tiled = max(vila.image_tokens(*shape, tiled=True) for shape in shapes)
    return max(tiled, among_others), among_others


def _raising(error: NotActive) -> Iterator[TextChunk]:
    """An iterator that raises at once."""
    raise error
    yield
