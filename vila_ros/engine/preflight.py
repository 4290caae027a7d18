# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What would go wrong with an engine folder on this machine, told before anything is started."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from vila_ros.engine.engine_folder import WORK, EngineFolder, LanguageEngine, changed_files
from vila_ros.engine.machine import Machine
from vila_ros.engine.tensorrt_llm_versions import Version, check_runs_engines
from vila_ros.errors import InvalidCheckpoint, Unsupported, VilaError

# Architectures of a checkpoint's root config that are VILA; the TensorRT engine path converts
# those of VILA1.5 alone (issues 2706 and 2707 of NVIDIA/TensorRT-LLM for NVILA).
_NVILA_LANGUAGE = "qwen2"
DEFAULT_ROWS_PER_IMAGE = 196
"""VILA1.5 with SigLIP at 384 px: 27 x 27 patches, padded to 28 x 28, pooled 2 x 2."""


class Level(Enum):
    """How much a finding matters."""

    ERROR = "error"
    WARNING = "warning"
    UNKNOWN = "not checked"
    OK = "ok"


@dataclass(frozen=True)
class Finding:
    """One check's outcome; error is what to raise for Level.ERROR."""

    level: Level
    about: str
    text: str
    error: type[VilaError] = Unsupported


@dataclass(frozen=True)
class ImageLimits:
    """How many images fit. rows_per_image: rows of the prompt table each takes."""

    rows_per_image: int
    by_table: int
    by_input: int

    @property
    def images(self) -> int:
        """Images of one request."""
        return min(self.by_table, self.by_input)


def image_limits(folder: EngineFolder) -> ImageLimits:
    """Images of one request, by the table's rows and by the input's tokens."""
    rows = rows_per_image(folder)
    language = folder.language
    return ImageLimits(rows, language.rows_per_request // rows, language.max_input_len // rows)


def rows_per_image(folder: EngineFolder) -> int:
    """Rows of one image, as the manifest or the visual engine tells, else VILA1.5's."""
    if folder.manifest is not None:
        return folder.manifest.rows_per_image
    told = folder.visual.rows_per_image if folder.visual is not None else None
    return told if told and told > 0 else DEFAULT_ROWS_PER_IMAGE


def inspect_folder(
    folder: EngineFolder, machine: Machine, *, checksums: bool = False
) -> list[Finding]:
    """All checks, in the order in which a start would meet them."""
    findings = [
        _complete(folder),
        _runtime(folder.language, machine),
        _built_by(folder.language, machine),
        _architecture(folder, machine),
        _family(folder),
        _ranks(folder.language),
        _images(folder),
        _vision(folder),
        _template(folder),
    ]
    if checksums:
        findings.append(_checksums(folder))
    return findings


def require_usable(folder: EngineFolder, machine: Machine) -> list[Finding]:
    """Raise the first error's VilaError; the findings otherwise."""
    findings = inspect_folder(folder, machine)
    for finding in findings:
        if finding.level is Level.ERROR:
            raise finding.error(finding.text)
    return findings


def _complete(folder: EngineFolder) -> Finding:
    about = "build"
    if folder.manifest is None and (folder.root / WORK).is_dir():
        return Finding(
            Level.ERROR,
            about,
            f"{folder.root} is half built: the manifest, which is written last, is missing; run "
            "the same `vila build-engine` again, which goes on where it stopped",
            InvalidCheckpoint,
        )
    if folder.manifest is None:
        return Finding(Level.WARNING, about, "not made by `vila build-engine`: no manifest")
    return Finding(Level.OK, about, f"{folder.manifest.model}, {folder.manifest.precision}")


def _runtime(language: LanguageEngine, machine: Machine) -> Finding:
    about = "runtime"
    if machine.tensorrt_llm is None:
        return Finding(
            Level.UNKNOWN,
            about,
            "tensorrt_llm is not installed in this interpreter; name the one that has it by "
            "engine.interpreter",
        )
    try:
        version = check_runs_engines(machine.tensorrt_llm)
    except Unsupported as error:
        return Finding(Level.ERROR, about, error.message)
    return Finding(Level.OK, about, f"tensorrt_llm {version} runs engine folders")


def _built_by(language: LanguageEngine, machine: Machine) -> Finding:
    about = "built by"
    if language.version is None:
        return Finding(Level.WARNING, about, f"{language.folder} does not say which version built")
    if machine.tensorrt_llm is None:
        return Finding(Level.UNKNOWN, about, f"tensorrt_llm {language.version}")
    if not Version.parse(language.version).same_line(Version.parse(machine.tensorrt_llm)):
        return Finding(
            Level.ERROR,
            about,
            f"{language.folder} was built by tensorrt_llm {language.version}, this interpreter has "
            f"{machine.tensorrt_llm}; a serialized engine runs only with the release that built "
            "it: build again, or install that release",
        )
    return Finding(Level.OK, about, f"tensorrt_llm {language.version}")


def _architecture(folder: EngineFolder, machine: Machine) -> Finding:
    about = "GPU"
    built = folder.manifest.architecture if folder.manifest is not None else None
    here = machine.gpu
    if built is None:
        return Finding(
            Level.UNKNOWN, about, "the folder does not say for which GPU architecture it was built"
        )
    if here is None:
        return Finding(Level.UNKNOWN, about, f"built for {built}; this machine has no CUDA GPU")
    if here.architecture != built:
        return Finding(
            Level.ERROR,
            about,
            f"{folder.root} was built for {built}, this machine's {here.name} is "
            f"{here.architecture}; an engine runs only on the architecture it was built on: run "
            "`vila build-engine` here",
        )
    return Finding(Level.OK, about, f"{here.name}, {built}")


def _family(folder: EngineFolder) -> Finding:
    about = "model"
    model = folder.language.architecture
    kind = folder.visual.model_type if folder.visual is not None else "vila"
    if kind != "vila":
        return Finding(
            Level.ERROR, about, f"the visual engine is of {kind!r}, expected 'vila'",
            InvalidCheckpoint,
        )  # fmt: skip
    if folder.checkpoint is not None and is_nvila(folder.checkpoint):
        return Finding(Level.ERROR, about, nvila_message(folder.checkpoint))
    return Finding(Level.OK, about, f"{model}, {folder.language.quantization or 'float16'}")


def is_nvila(checkpoint: Path) -> bool:
    """Whether a VILA folder is of NVILA, by its language model or its media encoders."""
    from vila_ros.model.config import read_json

    config = read_json(checkpoint / "config.json")
    llm = checkpoint / "llm" / "config.json"
    language = json.loads(llm.read_text(encoding="utf-8")) if llm.is_file() else {}
    qwen = language.get("model_type") == _NVILA_LANGUAGE
    return qwen or bool({"dynamic_s2", "image_encoder", "video_encoder"} & set(config))


def nvila_message(checkpoint: Path) -> str:
    """Why NVILA cannot take the engine path, and what can run it."""
    return (
        f"{checkpoint} is NVILA, which TensorRT-LLM's engine path cannot run (VILA1.5 only); use "
        "runtime 'tensorrt_llm_pytorch' on x86-64, or 'torch'"
    )


def _ranks(language: LanguageEngine) -> Finding:
    about = "parallelism"
    if language.ranks != 1:
        return Finding(
            Level.ERROR,
            about,
            f"{language.folder} was built for {language.ranks} GPUs; this package runs one: build "
            "with --tp_size 1 --pp_size 1",
        )
    return Finding(Level.OK, about, "one GPU")


def _images(folder: EngineFolder) -> Finding:
    about = "images"
    limits, language = image_limits(folder), folder.language
    if limits.by_table < 1:
        return Finding(
            Level.ERROR,
            about,
            f"{language.folder} takes {language.rows_per_request} image rows in a request "
            f"(max_multimodal_len {language.table_rows} / max_batch_size "
            f"{language.max_batch_size}), an image has {limits.rows_per_image}; build with "
            f"--max_multimodal_len of at least max_batch_size x {limits.rows_per_image}",
            InvalidCheckpoint,
        )
    text = f"at most {limits.images} in a question, {limits.rows_per_image} rows each"
    if limits.by_input < limits.by_table:
        text += f"; max_input_len {language.max_input_len} is what limits them"
    return Finding(Level.OK, about, text)


def _vision(folder: EngineFolder) -> Finding:
    about = "vision"
    if folder.visual is not None:
        where = folder.visual.file.relative_to(folder.visual.file.parent.parent)
        if folder.manifest is None:
            return Finding(
                Level.WARNING,
                about,
                f"{where} was not built here, so the order of its tokens is unknown; VILA1.5 with "
                "mlp_downsample needs columns first, and tools of NVlabs/VILA main give rows first",
            )
        return Finding(Level.OK, about, f"{where}, {folder.visual.precision}")
    if folder.checkpoint is None:
        return Finding(
            Level.ERROR,
            about,
            f"{folder.root} has neither a visual engine nor the model's vision tower; name the "
            "VILA folder by the option 'checkpoint'",
            InvalidCheckpoint,
        )
    return Finding(Level.OK, about, "no visual engine: the vision tower runs in torch")


def _template(folder: EngineFolder) -> Finding:
    about = "template"
    if folder.checkpoint is None:
        return Finding(
            Level.ERROR,
            about,
            f"{folder.root} has no tokenizer; name the VILA folder by the option 'checkpoint'",
            InvalidCheckpoint,
        )
    if folder.manifest is not None:
        return Finding(Level.OK, about, folder.manifest.conversation)
    return Finding(Level.OK, about, "chosen by the checkpoint; see `vila model info`")


def _checksums(folder: EngineFolder) -> Finding:
    about = "checksums"
    if folder.manifest is None:
        return Finding(Level.UNKNOWN, about, "no manifest: not made by `vila build-engine`")
    wrong = changed_files(folder.root, folder.manifest)
    if wrong:
        return Finding(
            Level.ERROR,
            about,
            f"{folder.root} is not what was built: {'; '.join(wrong)}; copy it again or rebuild",
            InvalidCheckpoint,
        )
    return Finding(Level.OK, about, f"{len(folder.manifest.files)} files are as they were built")
