# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an int4 folder is checked by when it is loaded: checksums, and a prompt with known logits.

A damaged file has another checksum; files that belong to another model, or a runtime that misreads
them, give other logits. So that such a folder is refused, instead of answering nonsense.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vila_ros.errors import InvalidCheckpoint
from vila_ros.model.config import read_json

SEAL = "int4_seal.json"
VERSION = 1
GOLDEN_TOKENS = 24
GOLDEN_LOGITS = 32
TOLERANCE = 0.1
"""Of the logits' spread. Other kernels and 16-bit activations stay below a twentieth; a wrong
layout gives about 1."""
READ_BYTES = 1 << 22

log = logging.getLogger(__name__)


def write_seal(folder: Path, llm_folder: Path, language_model: Any, details: Any) -> Path:
    """Seal an int4 folder by its loaded float32 language model. details: JSON values to keep."""
    ids = golden_ids(int(language_model.config.vocab_size))
    logits = golden_logits(language_model, ids)
    top = logits.topk(min(GOLDEN_LOGITS, len(logits)))
    seal = {
        "version": VERSION,
        "files": {
            path.name: {"bytes": path.stat().st_size, "sha256": digest(path)}
            for path in weight_files(llm_folder)
        },
        "golden": {
            "ids": ids,
            "places": top.indices.tolist(),
            "logits": [round(value, 5) for value in top.values.tolist()],
            "spread": round(float(logits.std()), 6),
        },
        **details,
    }
    path = llm_folder / SEAL
    path.write_text(json.dumps(seal, indent=1) + "\n", encoding="utf-8")
    return path


def check_files(llm_folder: Path) -> Mapping[str, Any] | None:
    """Compare sizes and checksums with the seal, which is returned; None where there is none.

    Raises InvalidCheckpoint naming the file.
    """
    path = llm_folder / SEAL
    if not path.is_file():
        log.warning(
            "%s has no %s: its files are loaded without a checksum and a known answer",
            llm_folder,
            SEAL,
        )
        return None
    seal = read_json(path)
    try:
        expected = {name: (int(e["bytes"]), str(e["sha256"])) for name, e in seal["files"].items()}
        _ = seal["golden"]["ids"], seal["golden"]["logits"], seal["golden"]["places"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidCheckpoint(f"{path} is broken: {error!r}") from error
    present = {file.name: file for file in weight_files(llm_folder)}
    if set(present) != set(expected):
        odd = sorted(set(present) ^ set(expected))[0]
        state = "was added" if odd in present else "is missing"
        raise InvalidCheckpoint(
            f"{llm_folder / odd} {state} since the folder was sealed; restore the folder as it was "
            "written"
        )
    for name, (size, checksum) in expected.items():
        found = present[name].stat().st_size
        if found != size:
            raise InvalidCheckpoint(
                f"{present[name]} has {found} bytes, {size} were written: it is truncated or was "
                "changed; copy or download it again"
            )
        if digest(present[name]) != checksum:
            raise InvalidCheckpoint(
                f"{present[name]} is not what was written: its checksum differs; copy or download "
                "it again"
            )
    return seal


def check_golden(language_model: Any, seal: Mapping[str, Any], llm_folder: Path) -> None:
    """Compare the loaded model's logits for the sealed prompt. Raises InvalidCheckpoint."""
    golden = seal["golden"]
    logits = golden_logits(language_model, golden["ids"])
    mine = logits[torch.tensor(golden["places"])]
    expected = torch.tensor(golden["logits"])
    spread = max(float(golden["spread"]), 1e-6)
    off = float((mine - expected).pow(2).mean().sqrt()) / spread
    if not off <= TOLERANCE:
        raise InvalidCheckpoint(
            f"{llm_folder} answers its sealed prompt differently ({off:.2f} of the logits' spread, "
            f"at most {TOLERANCE} is allowed): its files do not belong together, or this machine "
            "computes wrongly; restore the folder as it was written"
        )


def check_finite_answer(language_model: Any, llm_folder: Path) -> None:
    """For folders without a seal: a prompt must at least give finite logits that differ."""
    logits = golden_logits(language_model, golden_ids(int(language_model.config.vocab_size)))
    if not bool(torch.isfinite(logits).all()) or float(logits.std()) == 0.0:
        raise InvalidCheckpoint(
            f"{llm_folder} gives logits that are not finite or all alike: its int4 files are "
            "damaged, or of another model"
        )


def golden_ids(vocabulary: int) -> list[int]:
    """A fixed prompt: ids spread over the vocabulary."""
    return [(7919 * place + 13) % vocabulary for place in range(1, GOLDEN_TOKENS + 1)]


@torch.inference_mode()
def golden_logits(language_model: Any, ids: list[int]) -> torch.Tensor:
    """Float32 logits [vocabulary] after a prompt, on the CPU."""
    device = next(language_model.parameters()).device
    tokens = torch.tensor([ids], device=device)
    hidden = language_model.model(input_ids=tokens, use_cache=False).last_hidden_state
    return language_model.lm_head(hidden[0, -1:])[0].float().cpu()


def weight_files(llm_folder: Path) -> list[Path]:
    """The files that the seal covers, with the index of shards."""
    return sorted(
        path
        for path in llm_folder.iterdir()
        if path.suffix in (".safetensors", ".bin", ".pt") or path.name.endswith(".index.json")
    )


def digest(path: Path) -> str:
    """SHA-256 of a file, read piece by piece."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            total.update(piece)
    return total.hexdigest()
