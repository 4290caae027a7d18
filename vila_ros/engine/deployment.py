# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which model, at which precision, with how many frames, fits into which machine, by arithmetic.

Everything is computed from published sizes; nothing here was measured. A machine's memory is
divided into what others keep (system, desktop, ROS), the runtime itself, the weights, the room that
prefill takes, and the KV cache, which takes the rest and thereby decides the context.
"""

from __future__ import annotations

from dataclasses import dataclass

from vila_ros.model.info import INT4_BITS
from vila_ros.model.random_checkpoint import SHAPES, Shape

GIB = 1 << 30
HALF = 2
TOKENS_PER_IMAGE = 196
PATCH = 14
TEXT_TOKENS = 1024
ANSWER_TOKENS = 512
RUNTIME_BYTES = int(1.2 * GIB)
"""CUDA context, cuBLAS and the runtime's own buffers: an estimate."""

PRECISIONS = ("int4", "fp16")

# Tokens per second at batch 1 by TinyChat (mit-han-lab/llm-awq, VILA1.5 table): another runtime
# than TensorRT-LLM, on these machines only.
PUBLISHED_TOKENS_PER_SECOND = {
    ("vila1.5-3b", "int4", "AGX Orin"): 42.5,
    ("vila1.5-8b", "int4", "AGX Orin"): 28.7,
    ("vila1.5-13b", "int4", "AGX Orin"): 20.6,
    ("vila1.5-3b", "fp16", "AGX Orin"): 25.4,
    ("vila1.5-3b", "int4", "RTX 4090"): 215.5,
    ("vila1.5-8b", "int4", "RTX 4090"): 150.2,
    ("vila1.5-13b", "int4", "RTX 4090"): 105.7,
    ("vila1.5-3b", "fp16", "RTX 4090"): 137.6,
}


@dataclass(frozen=True)
class Platform:
    """A machine. memory: GiB that the GPU can use. kept: GiB that the system and the robot's other
    programs keep, where memory is shared; of a GPU of its own, what the display keeps (estimates).
    published_as: how the table of published speeds calls it."""

    name: str
    memory: float
    kept: float
    runtimes: str
    published_as: str = ""


PLATFORMS = (
    Platform("Orin Nano 8 GB", 7.4, 2.5, "torch, openai_http"),
    Platform("AGX Orin 32 GB", 29.8, 5.0, "tensorrt_llm_engine 0.12, torch", "AGX Orin"),
    Platform("AGX Orin 64 GB", 61.3, 5.0, "tensorrt_llm_engine 0.12, torch", "AGX Orin"),
    Platform("RTX 8 GB", 8.0, 0.7, "tensorrt_llm_engine 1.2.1, tensorrt_llm_pytorch, torch"),
    Platform("RTX 12 GB", 12.0, 0.7, "tensorrt_llm_engine 1.2.1, tensorrt_llm_pytorch, torch"),
    Platform(
        "RTX 24 GB", 24.0, 1.0, "tensorrt_llm_engine 1.2.1, tensorrt_llm_pytorch, torch", "RTX 4090"
    ),
)


@dataclass(frozen=True)
class ModelBytes:
    """What one model takes, bytes."""

    weights: int
    kv_per_token: int
    prefill_per_token: int
    context: int


@dataclass(frozen=True)
class Fit:
    """A model on a platform. context: tokens, 0 where it does not fit. frames: of one question,
    beside TEXT_TOKENS of text and ANSWER_TOKENS of answer. published: tokens/s, by others."""

    platform: Platform
    model: str
    precision: str
    weights: int
    context: int
    frames: int
    published: float | None

    @property
    def fits(self) -> bool:
        """Whether at least one frame can be asked about."""
        return self.frames >= 1


def all_fits() -> list[Fit]:
    """Every published VILA1.5 model of the engine path at every precision on every platform."""
    models = [name for name in SHAPES if name.startswith("vila")]
    return [
        fit(platform, model, precision)
        for platform in PLATFORMS
        for model in models
        for precision in PRECISIONS
    ]


def fit(platform: Platform, model: str, precision: str) -> Fit:
    """How a model fits.

    free = memory - kept - runtime - weights; a context of c tokens takes c * (KV + prefill) bytes,
    where prefill is what one pass over the whole prompt holds (no chunked prefill with images).
    """
    needs = model_bytes(SHAPES[model], precision)
    free = (platform.memory - platform.kept) * GIB - RUNTIME_BYTES - needs.weights
    context = int(free / (needs.kv_per_token + needs.prefill_per_token)) if free > 0 else 0
    context = min(context, needs.context)
    frames = max((context - TEXT_TOKENS - ANSWER_TOKENS) // TOKENS_PER_IMAGE, 0)
    return Fit(
        platform=platform,
        model=model,
        precision=precision,
        weights=needs.weights,
        context=context if frames else 0,
        frames=frames,
        published=PUBLISHED_TOKENS_PER_SECOND.get((model, precision, platform.published_as)),
    )


def model_bytes(shape: Shape, precision: str) -> ModelBytes:
    """Bytes of a model: the language model's linear layers at the precision, the rest float16."""
    head = shape.hidden // shape.heads
    attention = 2 * shape.hidden * shape.hidden + 2 * shape.hidden * shape.kv_heads * head
    linear = shape.layers * (attention + 3 * shape.hidden * shape.mlp)
    plain = 2 * shape.vocabulary * shape.hidden + (2 * shape.layers + 1) * shape.hidden
    bits = INT4_BITS if precision == "int4" else 8 * HALF
    weights = linear * bits / 8 + HALF * (plain + vision_parameters(shape))
    kv = 2 * shape.layers * shape.kv_heads * head * HALF
    # Prefill holds the residual stream, queries, keys, values and both halves of the feed-forward.
    prefill = HALF * (4 * shape.hidden + 2 * shape.mlp)
    return ModelBytes(round(weights), kv, prefill, shape.context)


def vision_parameters(shape: Shape) -> int:
    """Parameters of the SigLIP layers that run (all but the last) and of mlp_downsample."""
    wide, mlp = shape.vision_hidden, shape.vision_mlp
    layer = 4 * (wide * wide + wide) + 2 * wide * mlp + mlp + wide + 4 * wide
    patches = (shape.image // PATCH) ** 2
    tower = (shape.vision_layers - 1) * layer + 3 * PATCH * PATCH * wide + wide + patches * wide
    joined = 4 * wide
    projector = 2 * joined + joined * shape.hidden + shape.hidden + shape.hidden**2 + shape.hidden
    return tower + projector


def as_markdown(fits: list[Fit]) -> list[str]:
    """The table of docs/deployment.md."""
    lines = [
        "| platform | model | precision | weights | context | frames | published tokens/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in fits:
        size = f"{each.weights / 1e9:.1f} GB"
        room = (f"{each.context}", f"{each.frames}") if each.fits else ("does not fit", "–")
        speed = "–" if each.published is None else f"{each.published:g}"
        cells = (each.platform.name, each.model, each.precision, size, *room, speed)
        lines.append("| " + " | ".join(cells) + " |")
    return lines
