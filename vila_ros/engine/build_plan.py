# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How an engine folder is built: the stages, their commands, and what each needs.

Commands are argument lists that a user can repeat by hand. Options of trtllm-build:
tensorrt_llm/commands/build.py of NVIDIA/TensorRT-LLM. Not yet verified on hardware.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from vila_ros.engine.engine_folder import WORK
from vila_ros.errors import InvalidRequest
from vila_ros.model.config import VilaConfig, read_config
from vila_ros.model.info import ModelInfo, describe_model
from vila_ros.quantization.calibration import SAMPLES
from vila_ros.quantization.modelopt_awq import check_exportable, check_precision

MAX_IMAGES = 64
_GIB = 1 << 30


@dataclass(frozen=True)
class Profile:
    """What a platform's engines are built for.

    architecture: None takes the GPU of the machine that builds. images, text_tokens and
    answer_tokens: of one question. flags: further options of trtllm-build.
    """

    name: str
    platform: str
    architecture: str | None
    tensorrt_llm: str
    images: int
    text_tokens: int
    answer_tokens: int
    max_batch_size: int
    flags: tuple[str, ...]


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            name="agx_orin",
            platform="Jetson AGX Orin, JetPack 6.1",
            architecture="sm_87",
            tensorrt_llm="0.12.0 (branch v0.12.0-jetson)",
            images=8,
            text_tokens=1024,
            answer_tokens=512,
            max_batch_size=1,
            flags=(),
        ),
        Profile(
            name="rtx",
            platform="RTX GPU, x86-64",
            architecture=None,
            tensorrt_llm="1.2.1",
            images=16,
            text_tokens=1024,
            answer_tokens=512,
            max_batch_size=2,
            # Without it the KV cache of equal prompt beginnings cannot be reused.
            flags=("--use_paged_context_fmha", "enable"),
        ),
    )
}


@dataclass(frozen=True)
class BuildOptions:
    """What a user may choose. images, max_batch_size: None for the profile's.

    quantise_python: the interpreter with nvidia-modelopt; python: the one with TensorRT.
    """

    precision: str = "int4_awq"
    calibration: Path | None = None
    samples: int = SAMPLES
    images: int | None = None
    max_batch_size: int | None = None
    conversation: str | None = None
    visual: bool = True
    quantise_python: str = sys.executable
    python: str = sys.executable
    trtllm_build: str = "trtllm-build"


@dataclass(frozen=True)
class Needs:
    """Bytes that a stage takes, and how they were estimated. gpu counts on its own; on a Jetson it
    is the same memory."""

    disk: int
    memory: int
    gpu: int
    how: str


@dataclass(frozen=True)
class Stage:
    """One command. output: what it makes, removed before it runs again."""

    name: str
    says: str
    command: tuple[str, ...]
    output: Path
    needs: Needs


@dataclass(frozen=True)
class Limits:
    """Sizes that the language engine is built with, tokens."""

    images: int
    rows_per_image: int
    max_batch_size: int
    max_input_len: int
    max_seq_len: int

    @property
    def max_multimodal_len(self) -> int:
        """Image rows of all requests of a batch together."""
        return self.max_batch_size * self.images * self.rows_per_image


@dataclass(frozen=True)
class BuildPlan:
    """A whole build. warnings: what a user should know before it starts."""

    model: Path
    out: Path
    profile: Profile
    options: BuildOptions
    limits: Limits
    stages: tuple[Stage, ...]
    warnings: tuple[str, ...]

    @property
    def disk(self) -> int:
        """Bytes that all stages leave on the disk together."""
        return sum(stage.needs.disk for stage in self.stages)


def plan_build(model: Path, out: Path, profile_name: str, options: BuildOptions) -> BuildPlan:
    """Plan a build; only configuration and file headers are read.

    Raises InvalidRequest for an unknown profile or option, Unsupported for NVILA, and
    InvalidCheckpoint.
    """
    if profile_name not in PROFILES:
        raise InvalidRequest(f"profile {profile_name!r} is unknown; known: {', '.join(PROFILES)}")
    profile = PROFILES[profile_name]
    check_precision(options.precision)
    config = read_config(model)
    check_exportable(config)
    if options.precision == "int4_awq" and options.calibration is None:
        raise InvalidRequest(
            "int4_awq needs --calibration DIR, a folder of some 32 typical camera images; "
            "--precision float16 needs none"
        )
    info = describe_model(model, conversation=options.conversation)
    limits = engine_limits(info, profile, options)
    model, out = model.resolve(), out.resolve()
    visual = options.visual and not _sees_in_parts(config)
    stages = [
        _checkpoint_stage(model, out, info, options),
        _language_stage(out, info, limits, options, profile),
    ]
    if visual:
        stages += _visual_stages(model, out, info, limits, options)
    stages.append(_seal_stage(model, out, info, profile, options, visual))
    return BuildPlan(
        model, out, profile, options, limits, tuple(stages), _warnings(config, options, visual)
    )


def engine_limits(info: ModelInfo, profile: Profile, options: BuildOptions) -> Limits:
    """The sizes for the images and texts of a question, checked against the model's context."""
    images = profile.images if options.images is None else options.images
    batch = profile.max_batch_size if options.max_batch_size is None else options.max_batch_size
    if not 1 <= images <= MAX_IMAGES:
        raise InvalidRequest(f"--images is {images}; it must be from 1 to {MAX_IMAGES}")
    if batch < 1:
        raise InvalidRequest(f"--max-batch-size is {batch}; it must be at least 1")
    rows = info.tokens_per_image
    spare = info.context_length - images * rows - profile.answer_tokens
    if spare < 64:
        most = (info.context_length - profile.answer_tokens - 64) // rows
        raise InvalidRequest(
            f"{images} images of {rows} tokens leave no room for a question in the model's context "
            f"of {info.context_length}; at most {most} fit"
        )
    input_len = images * rows + min(profile.text_tokens, spare)
    return Limits(images, rows, batch, input_len, input_len + profile.answer_tokens)


def _sees_in_parts(config: VilaConfig) -> bool:
    return config.scales is not None or config.image_aspect_ratio in ("dynamic", "dynamic_s2")


def _warnings(config: VilaConfig, options: BuildOptions, visual: bool) -> tuple[str, ...]:
    found = []
    if not visual:
        why = "as asked" if not options.visual else "since the model sees images at several scales"
        found.append(f"no visual engine is built, {why}; the vision tower will run in torch")
    if config.conversation is None and options.conversation is None:
        found.append(
            "the checkpoint names no conversation template; check the one in `vila model info`, "
            "and name it by --conversation if it is wrong"
        )
    return tuple(found)


def _module(python: str, name: str, *arguments: str | Path) -> tuple[str, ...]:
    return (python, "-m", name, *map(str, arguments))


def _checkpoint_stage(model: Path, out: Path, info: ModelInfo, options: BuildOptions) -> Stage:
    int4 = options.precision == "int4_awq"
    target = out / WORK / "quantised"
    arguments: list[str | Path] = ["--model", model, "--out", target]
    arguments += ["--precision", options.precision]
    if options.calibration is not None:
        arguments += ["--calibration", options.calibration.resolve()]
        arguments += ["--samples", str(options.samples)]
    whole = info.fp16.weights
    written = 2 * info.int4.language_model if int4 else info.fp16.language_model
    return Stage(
        name="quantise" if int4 else "convert",
        says="measure activations with images, write int4 weights (nvidia-modelopt)"
        if int4
        else "convert the weights (nvidia-modelopt)",
        command=_module(options.quantise_python, "vila_ros.quantization.modelopt_awq", *arguments),
        output=target,
        needs=Needs(
            disk=written + (info.fp16.vision_tower + info.fp16.projector if int4 else 0),
            memory=2 * whole,
            gpu=whole + 2 * _GIB,
            how="weights as float16 and 2 GiB of activations on a GPU; without one float32 weights "
            "in memory",
        ),
    )


def _language_stage(
    out: Path, info: ModelInfo, limits: Limits, options: BuildOptions, profile: Profile
) -> Stage:
    weights = (info.int4 if options.precision == "int4_awq" else info.fp16).language_model
    command = [
        options.trtllm_build,
        "--checkpoint_dir", str(out / WORK / "quantised" / "checkpoint"),
        "--output_dir", str(out / "llm"),
        "--gemm_plugin", "float16",
        "--max_batch_size", str(limits.max_batch_size),
        "--max_beam_width", "1",
        "--max_input_len", str(limits.max_input_len),
        "--max_seq_len", str(limits.max_seq_len),
        "--max_num_tokens", str(limits.max_batch_size * limits.max_input_len),
        "--max_multimodal_len", str(limits.max_multimodal_len),
        *profile.flags,
    ]  # fmt: skip
    return Stage(
        name="language",
        says="build the language engine (trtllm-build)",
        command=tuple(command),
        output=out / "llm",
        needs=Needs(
            disk=weights,
            memory=3 * weights + 4 * _GIB,
            gpu=weights + 4 * _GIB,
            how="the builder holds the weights up to three times; 4 GiB for its tactics",
        ),
    )


def _visual_stages(
    model: Path, out: Path, info: ModelInfo, limits: Limits, options: BuildOptions
) -> list[Stage]:
    vision = info.fp16.vision_tower + info.fp16.projector
    onnx = out / WORK / "onnx"
    return [
        Stage(
            name="visual-onnx",
            says="export vision tower and projector",
            command=_module(
                options.quantise_python,
                "vila_ros.quantization.visual_onnx",
                *("--model", model, "--out", onnx),
            ),
            output=onnx,
            needs=Needs(vision, 3 * vision + _GIB, 0, "the weights, their graph and its file"),
        ),
        Stage(
            name="visual",
            says="build the visual engine (tensorrt)",
            command=_module(
                options.python,
                "vila_ros.quantization.visual_engine",
                *("--onnx", onnx, "--out", out / "vision"),
                *("--max-images", str(min(limits.images, 4))),
            ),
            output=out / "vision",
            needs=Needs(
                vision, 3 * vision + 2 * _GIB, vision + 2 * _GIB, "the weights and 2 GiB of tactics"
            ),
        ),
    ]


def _seal_stage(
    model: Path,
    out: Path,
    info: ModelInfo,
    profile: Profile,
    options: BuildOptions,
    visual: bool,
) -> Stage:
    arguments: list[str | Path] = ["engine", "seal", out, "--model", model]
    arguments += ["--precision", options.precision]
    if profile.architecture is not None:
        arguments += ["--architecture", profile.architecture]
    if options.conversation is not None:
        arguments += ["--conversation", options.conversation]
    if not visual:
        arguments.append("--vision-tower")
    tower = 0 if visual else info.vision_tower.bytes + info.projector.bytes
    return Stage(
        name="seal",
        says="copy the tokenizer and configuration, write checksums",
        command=_module(options.python, "vila_ros.cli.main", *arguments),
        output=out / "vila_engine.json",
        needs=Needs(tower + 32 * (1 << 20), 1 * _GIB, 0, "reads every file once"),
    )
