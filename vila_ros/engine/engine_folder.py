# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An engine folder as files: what was built, from what, for which GPU, and with which limits.

Reading needs neither a GPU nor TensorRT-LLM. Layouts that are understood:

    ENGINE_DIR/llm/{config.json,rank0.engine}     language engine, written by trtllm-build
    ENGINE_DIR/vision/{config.json,model.engine}  visual engine (0.12 examples call the file
                                                  visual_encoder.engine)
    ENGINE_DIR/model/                             the VILA folder's configuration, tokenizer, and,
                                                  without a visual engine, vision weights
    ENGINE_DIR/vila_engine.json                   manifest, written last by `vila build-engine`

and, as the examples of 0.12 leave them, a language engine's folder alone, with the visual engine in
a folder of its own that is named separately. Field names: tensorrt_llm/builder.py (EngineConfig)
and tensorrt_llm/tools/multimodal_builder.py of NVIDIA/TensorRT-LLM.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vila_ros.errors import InvalidCheckpoint

MANIFEST = "vila_engine.json"
MANIFEST_FORMAT = 1
WORK = "build"
"""Below an engine folder while it is built: intermediate results, logs and stamps."""
VISUAL_ENGINES = ("model.engine", "visual_encoder.engine")
_CHUNK = 1 << 22


@dataclass(frozen=True)
class LanguageEngine:
    """llm/config.json. table_rows: rows of image embeddings that all requests of a batch share.

    version: of the tensorrt_llm that built it, None where it does not say. vocabulary: the
    engine's, which AWQ pads to a multiple of 64 and where the ids of image rows begin.
    """

    folder: Path
    version: str | None
    architecture: str
    dtype: str
    quantization: str | None
    hidden_size: int
    vocabulary: int
    max_batch_size: int
    max_input_len: int
    max_seq_len: int
    table_rows: int
    paged_context: bool
    ranks: int

    @property
    def rows_per_request(self) -> int:
        """Image rows that one request may bring: the table is divided evenly among the batch
        (mMaxPromptVocabSize in cpp/tensorrt_llm/batch_manager/promptTuningBuffers.cpp)."""
        return self.table_rows // max(self.max_batch_size, 1)


@dataclass(frozen=True)
class VisualEngine:
    """vision/config.json. output_shape: of one batch, [-1, rows, hidden] or empty if not told."""

    file: Path
    model_type: str
    precision: str
    max_images: int
    output_shape: tuple[int, ...]

    @property
    def rows_per_image(self) -> int | None:
        """Rows of one image's embedding, where the configuration tells."""
        return self.output_shape[1] if len(self.output_shape) == 3 else None


@dataclass(frozen=True)
class Manifest:
    """What `vila build-engine` noted. files: path below the folder -> sha256."""

    model: str
    architecture: str | None
    tensorrt_llm: str | None
    tensorrt: str | None
    conversation: str
    token_order: str
    rows_per_image: int
    precision: str
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EngineFolder:
    """Everything that was found. checkpoint: the VILA folder with tokenizer and configuration."""

    root: Path
    language: LanguageEngine
    visual: VisualEngine | None
    checkpoint: Path | None
    manifest: Manifest | None


def read_engine_folder(
    folder: str | Path,
    *,
    visual_engine_dir: str | Path | None = None,
    checkpoint: str | Path | None = None,
) -> EngineFolder:
    """Read what a folder says about itself; the engines' own bytes are not touched.

    Raises InvalidCheckpoint, naming the file and the fix, unless there is one language engine.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise InvalidCheckpoint(f"{root} is no folder; `vila build-engine` writes an engine folder")
    llm = root / "llm"
    if _is_engine(root) and not _is_engine(llm):
        llm = root
    vision = Path(visual_engine_dir).expanduser() if visual_engine_dir else root / "vision"
    if visual_engine_dir and not vision.is_dir():
        raise InvalidCheckpoint(f"visual_engine_dir {vision} is no folder")
    model = Path(checkpoint).expanduser() if checkpoint else root / "model"
    if checkpoint and not (model / "config.json").is_file():
        raise InvalidCheckpoint(f"checkpoint {model} has no config.json; name a VILA folder")
    return EngineFolder(
        root=root,
        language=read_language_engine(llm, root),
        visual=read_visual_engine(vision),
        checkpoint=model if (model / "config.json").is_file() else None,
        manifest=read_manifest(root / MANIFEST),
    )


def read_language_engine(folder: Path, asked: Path) -> LanguageEngine:
    """A language engine's config.json; `asked` is the folder that the user named, for messages."""
    where = folder / "config.json"
    if not where.is_file():
        raise InvalidCheckpoint(_not_an_engine(asked))
    raw = _read_json(where)
    pretrained, build = raw.get("pretrained_config"), raw.get("build_config")
    if not isinstance(pretrained, dict) or not isinstance(build, dict):
        raise InvalidCheckpoint(_not_an_engine(asked))
    ranks = int((pretrained.get("mapping") or {}).get("world_size", 1))
    missing = [
        name for rank in range(ranks) if not (folder / (name := f"rank{rank}.engine")).is_file()
    ]
    if missing:
        raise InvalidCheckpoint(
            f"{folder} lacks {', '.join(missing)}: the build did not finish; run `vila "
            "build-engine` again, which goes on where it stopped"
        )
    quantization = (pretrained.get("quantization") or {}).get("quant_algo")
    plugins = build.get("plugin_config") or {}
    return LanguageEngine(
        folder=folder,
        version=None if raw.get("version") is None else str(raw["version"]),
        architecture=str(pretrained.get("architecture", "")),
        dtype=str(pretrained.get("dtype", "float16")),
        quantization=None if quantization is None else str(quantization),
        hidden_size=_number(pretrained, "hidden_size", where),
        vocabulary=_number(pretrained, "vocab_size", where),
        max_batch_size=_number(build, "max_batch_size", where),
        max_input_len=_number(build, "max_input_len", where),
        max_seq_len=_number(build, "max_seq_len", where),
        table_rows=_number(build, "max_prompt_embedding_table_size", where, least=0),
        paged_context=bool(plugins.get("use_paged_context_fmha", False)),
        ranks=ranks,
    )


def read_visual_engine(folder: Path) -> VisualEngine | None:
    """A visual engine's folder; None where there is none."""
    file = next((folder / name for name in VISUAL_ENGINES if (folder / name).is_file()), None)
    if file is None:
        return None
    where = folder / "config.json"
    if not where.is_file():
        raise InvalidCheckpoint(f"{where} is missing beside {file.name}; build the engine again")
    builder = _read_json(where).get("builder_config")
    if not isinstance(builder, dict):
        raise InvalidCheckpoint(f"{where} has no builder_config; it describes no visual engine")
    shape = builder.get("output_shape") or ()
    return VisualEngine(
        file=file,
        model_type=str(builder.get("model_type", "")),
        precision=str(builder.get("precision", "float16")),
        max_images=_number(builder, "max_batch_size", where),
        output_shape=tuple(int(size) for size in shape),
    )


def read_manifest(path: Path) -> Manifest | None:
    """The manifest; None where the folder was not made by `vila build-engine`."""
    if not path.is_file():
        return None
    raw = _read_json(path)
    if raw.get("format") != MANIFEST_FORMAT:
        raise InvalidCheckpoint(
            f"{path} has format {raw.get('format')!r}, this version reads {MANIFEST_FORMAT}; build "
            "the engine again"
        )
    try:
        return Manifest(
            model=str(raw["model"]),
            architecture=raw["architecture"],
            tensorrt_llm=raw["tensorrt_llm"],
            tensorrt=raw["tensorrt"],
            conversation=str(raw["conversation"]),
            token_order=str(raw["token_order"]),
            rows_per_image=int(raw["rows_per_image"]),
            precision=str(raw["precision"]),
            files={str(name): str(digest) for name, digest in raw["files"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidCheckpoint(f"{path} is broken: {error!r}; build the engine again") from error


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write the manifest whole or not at all; it is what makes a build complete."""
    raw = {
        "format": MANIFEST_FORMAT,
        "model": manifest.model,
        "architecture": manifest.architecture,
        "tensorrt_llm": manifest.tensorrt_llm,
        "tensorrt": manifest.tensorrt,
        "conversation": manifest.conversation,
        "token_order": manifest.token_order,
        "rows_per_image": manifest.rows_per_image,
        "precision": manifest.precision,
        "files": dict(sorted(manifest.files.items())),
    }
    part = folder / f"{MANIFEST}.part"
    part.write_text(json.dumps(raw, indent=2) + "\n", encoding="utf-8")
    return part.replace(folder / MANIFEST)


def engine_files(folder: Path) -> Iterator[Path]:
    """The files that a manifest vouches for, sorted."""
    for part in ("llm", "vision", "model"):
        yield from sorted(path for path in (folder / part).rglob("*") if path.is_file())


def file_digest(path: Path) -> str:
    """sha256 of a file's content, in hexadecimal."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest()


def changed_files(folder: Path, manifest: Manifest) -> list[str]:
    """What no longer is as the manifest says, one phrase each."""
    wrong = []
    for name, digest in sorted(manifest.files.items()):
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif file_digest(path) != digest:
            wrong.append(f"{name} has changed")
    return wrong


def _is_engine(folder: Path) -> bool:
    path = folder / "config.json"
    return path.is_file() and "build_config" in _read_json(path)


def _not_an_engine(root: Path) -> str:
    """Why a folder is no engine folder, by what it holds instead."""
    if (root / "llm").is_dir() and (root / "mm_projector").is_dir():
        return (
            f"{root} is a VILA model folder, not an engine folder; build one by `vila build-engine "
            f"{root} --profile agx_orin|rtx --out ENGINE_DIR`, or use runtime 'torch'"
        )
    config = root / "config.json"
    if config.is_file() and ("quantization" in (raw := _read_json(config)) and "mapping" in raw):
        return (
            f"{root} is a TensorRT-LLM checkpoint, which trtllm-build turns into an engine; run "
            "`vila build-engine`"
        )
    return (
        f"{root} is no engine folder: expected llm/config.json with build_config and "
        "pretrained_config, as trtllm-build writes it"
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidCheckpoint(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(data, dict):
        raise InvalidCheckpoint(f"{path} holds a {type(data).__name__}, expected a JSON object")
    return data


def _number(raw: Mapping[str, Any], key: str, where: Path, least: int = 1) -> int:
    value = raw.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidCheckpoint(f"{where}: {key} is {value!r}, expected a number from {least} on")
    return value
