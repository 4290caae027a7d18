# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""AWQ against reference results: ratios, scales, clips, integers, packed tensors, logits.

A golden folder holds config.json and model_fp16.safetensors of a small Llama, io.safetensors
(calibration ids, logits), awq_results.safetensors and meta.json (what the search found), and where
they were kept pseudo_quant, packed_gemm and packed_tinychat_v2. Each step starts from the
reference's result of the step before, so that a difference is found where it arises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vila_ros.errors import InvalidRequest, VilaError
from vila_ros.model.config import language_config, read_json
from vila_ros.model.golden import Check, FileReport
from vila_ros.model.language_model import build_language_model
from vila_ros.model.weights import SafetensorsFile
from vila_ros.quantization.awq_search import (
    BlockInputs,
    FoundScale,
    Rounding,
    apply_clip,
    apply_scale,
    clip_error,
    gram_matrices,
    linears_of,
    observe,
    scale_groups,
    search_clips,
    search_scale,
)
from vila_ros.quantization.formats import FORMATS, gemm_tensors, tinychat_tensors
from vila_ros.quantization.groups import Rounded, restore, round_to_groups
from vila_ros.quantization.int4_weight import Int4Weight

Tensors = Mapping[str, torch.Tensor]

SCALE_TOLERANCE = 2e-6  # relative
LOSS_TOLERANCE = 1e-3  # relative; runners-up are 0.4 % and more behind
TIE_TOLERANCE = 1e-4  # relative difference of the errors of two clips that tie
REQUIRED = ("model_fp16", "io", "awq_results")
PACKED: Mapping[str, Callable[[Int4Weight], dict[str, torch.Tensor]]] = {
    "packed_gemm": gemm_tensors,
    "packed_tinychat_v2": tinychat_tensors,
}


def check_awq_folder(folder: Path, tolerance: float) -> list[FileReport]:
    """Recompute a golden folder, or every one in it. tolerance: of logits, absolute.

    Raises InvalidRequest where there is none.
    """
    if not (folder / "awq_results.safetensors").is_file():
        inner = sorted(path.parent for path in folder.glob("*/awq_results.safetensors"))
        if not inner:
            raise InvalidRequest(
                f"{folder} holds no awq_results.safetensors, nor does any folder in it"
            )
        return [report for part in inner for report in check_awq_folder(part, tolerance)]
    return list(AwqGolden(folder, tolerance).reports())


class AwqGolden:
    """One golden folder; the model in it is scaled, clipped and rounded as the checks go on."""

    def __init__(self, folder: Path, tolerance: float) -> None:
        self.folder = folder
        self.tolerance = tolerance
        self.meta = read_json(folder / "meta.json")
        lacking = [name for name in REQUIRED if not self._path(name).is_file()]
        if lacking:
            raise InvalidRequest(f"{folder} lacks {lacking[0]}.safetensors")
        self.io = self._read("io")
        self.found = self._read("awq_results")
        self.rounding = Rounding(int(self.meta.get("q_group_size", 128)))
        self.model = self._model()

    def reports(self) -> Iterator[FileReport]:
        """One for each file of results."""
        with torch.no_grad():
            logits = [self._logits("float")]
            logits.append(self._round_to_nearest())
            yield FileReport(self._path("awq_results"), tuple(self._search()))
            logits.append(self._logits("scaled_clipped"))
            rounded = {
                name: round_to_groups(linear.weight, self.rounding.group)
                for name, linear in self._linears()
            }
            if self._path("pseudo_quant").is_file():
                yield self._guard("pseudo_quant", self._integers(rounded))
            for name, pack in PACKED.items():
                if self._path(name).is_file():
                    yield self._guard(name, self._packed(name, rounded, pack))
            for name, linear in self._linears():
                linear.weight.data = restore(rounded[name])
            logits.append(self._logits("awq"))
            if self._path("packed_tinychat_v2").is_file():
                logits.append(self._half_scales())
        compared = tuple(check for check in logits if check)
        if compared:
            yield FileReport(self._path("io"), compared)

    # The search

    def _search(self) -> Iterator[Check]:
        ids = self.io["calib_ids"]
        length = ids.shape[1]
        hidden = self.model.model.embed_tokens(ids)
        positions = torch.arange(length)[None]
        # The reference ran eager attention over all samples at once.
        mask = torch.full((1, 1, length, length), torch.finfo(torch.float32).min).triu(1)
        context = {
            "position_embeddings": self.model.model.rotary_emb(hidden, positions),
            "attention_mask": mask,
            "position_ids": positions,
        }
        expected = {group["prev_op"]: group for group in self.meta["scale_groups"]}
        met: set[str] = set()
        samples = [hidden]
        for number, block in enumerate(self.model.model.layers):
            prefix = f"model.layers.{number}."
            inputs, samples = observe(block, samples, [context])
            scales = [
                search_scale(block, group, inputs, self.rounding) for group in scale_groups(block)
            ]
            for found in scales:
                name = prefix + found.group.previous
                met.add(name)
                yield from self._compare_scale(name, found, expected.get(name))
                theirs = self.found.get(f"scale.{name}")
                apply_scale(
                    block, found if theirs is None else replace(found, scales=theirs), inputs
                )
            yield from self._compare_clips(prefix, block, inputs)
        for name in expected:
            if name not in met:
                yield Check("ratios", failure=f"{name} has a scale in the reference and none here")

    def _compare_scale(
        self, name: str, found: FoundScale, expected: Mapping[str, Any] | None
    ) -> Iterator[Check]:
        if expected is None:
            yield Check("ratios", failure=f"{name} is scaled here and not in the reference")
            return
        ratio = float(expected["best_ratio"])
        same = abs(found.ratio - ratio) < 1e-6
        yield Check(
            "ratios", note="equal", failure="" if same else f"{name}: {found.ratio} not {ratio}"
        )
        losses = expected.get("loss_history", ())
        worst = max((abs(a / b - 1) for a, b in zip(found.losses, losses, strict=False)), default=0)
        if worst > LOSS_TOLERANCE:
            yield Check("ratios", worst, failure=f"{name}: a loss is {worst:.1e} off")
        for kind, mine in (("scale", found.scales), ("x_mean", found.mean)):
            theirs = self.found.get(f"{kind}.{name}")
            if theirs is not None:
                yield _relative("scales", f"{kind}.{name}", mine, theirs, SCALE_TOLERANCE)

    def _compare_clips(
        self, prefix: str, block: torch.nn.Module, inputs: BlockInputs
    ) -> Iterator[Check]:
        linears = linears_of(block)
        mine = search_clips(block, inputs, self.rounding)
        for name, clip in mine.items():
            theirs = self.found.get(f"clip.{prefix}{name}")
            if theirs is None:
                yield Check("clips", failure=f"{prefix}{name} is clipped here alone")
                continue
            off = (clip / theirs - 1).abs() > SCALE_TOLERANCE
            yield self._judge_clips(prefix + name, linears[name], inputs.linears[name], clip, off)
            apply_clip(linears[name], theirs)
        for key in self.found:
            local = key.removeprefix(f"clip.{prefix}")
            if local != key and local not in mine:
                yield Check("clips", failure=f"{key} is in the reference alone")

    def _judge_clips(
        self,
        name: str,
        linear: torch.nn.Linear,
        given: torch.Tensor,
        clip: torch.Tensor,
        off: torch.Tensor,
    ) -> Check:
        """Equal, or different only where both choices cost the same."""
        if not bool(off.any()):
            return Check("clips", note="equal")
        theirs = self.found[f"clip.{name}"]
        gram = gram_matrices(given, self.rounding.group)
        weight = linear.weight.data.view(len(clip), -1, self.rounding.group)
        ours, other = (clip_error(weight, bound, gram, self.rounding) for bound in (clip, theirs))
        gap = float((ours / other - 1).abs()[off].max())
        count = int(off.sum())
        if gap <= TIE_TOLERANCE:
            return Check("clips", note=f"{count} ties")
        return Check("clips", gap, failure=f"{name}: {count} of {off.numel()} clips differ")

    # What follows from the search

    def _integers(self, rounded: Mapping[str, Rounded]) -> Iterator[Check]:
        stored = self._read("pseudo_quant")
        weights = dict(self.model.named_parameters())
        for name, mine in rounded.items():
            if f"{name}.q" not in stored:
                yield Check("integers", failure=f"{name}.q is missing")
                continue
            theirs = reference_rounding(stored, name)
            for part in ("q", "zeros", "scales"):
                count = int((getattr(mine, part) != getattr(theirs, part)).sum())
                failure = f"{name}: {count} {part} differ" if count else ""
                yield Check("integers", note="equal", failure=failure)
        for key, tensor in stored.items():
            if key.endswith("layernorm.weight"):
                yield _relative("scales", key, weights[key], tensor, SCALE_TOLERANCE)
            elif key.endswith(".weight"):
                restored = restore(rounded[key.removesuffix(".weight")])
                yield _relative("integers", key, restored, tensor, 0.0)

    def _packed(
        self,
        file: str,
        rounded: Mapping[str, Rounded],
        pack: Callable[[Int4Weight], dict[str, torch.Tensor]],
    ) -> Iterator[Check]:
        stored = self._read(file)
        for name, mine in rounded.items():
            for suffix, tensor in pack(Int4Weight.of(mine, torch.float32)).items():
                theirs = stored.get(f"{name}.{suffix}")
                same = theirs is not None and torch.equal(theirs, tensor)
                failure = "" if same else f"{name}.{suffix} differs"
                yield Check("packed", note="equal", failure=failure)

    def _half_scales(self) -> Check | None:
        """Logits with TinyChat's own arithmetic, q * scale + scaled_zero, of the stored file."""
        stored = self._read("packed_tinychat_v2")
        for name, linear in self._linears():
            tensors = {
                suffix: stored[f"{name}.{suffix}"]
                for suffix in ("qweight", "scales", "scaled_zeros")
            }
            shape = (linear.out_features, linear.in_features)
            q = FORMATS["tinychat"].read(name, tensors, shape).q().float()
            groups = shape[1] // self.rounding.group
            scales, zeros = (
                tensors[part][:groups].T.float().repeat_interleave(self.rounding.group, dim=1)
                for part in ("scales", "scaled_zeros")
            )
            linear.weight.data = q * scales + zeros
        return self._logits("awq_v2_fp16")

    def _round_to_nearest(self) -> Check | None:
        original = {name: linear.weight.data for name, linear in self._linears()}
        for _, linear in self._linears():
            linear.weight.data = self.rounding(linear.weight.data)
        check = self._logits("rtn")
        for name, linear in self._linears():
            linear.weight.data = original[name]
        return check

    def _logits(self, name: str) -> Check | None:
        expected = self.io.get(f"logits_{name}")
        if expected is None:
            return None
        mine = self.model(input_ids=self.io["eval_ids"], use_cache=False).logits
        difference = float((mine - expected).abs().max())
        passed = difference <= self.tolerance
        return Check(
            "logits", difference, failure="" if passed else f"{name} differ by {difference:.2e}"
        )

    # Files

    def _linears(self) -> Iterator[tuple[str, torch.nn.Linear]]:
        for number, block in enumerate(self.model.model.layers):
            for name, linear in linears_of(block).items():
                yield f"model.layers.{number}.{name}", linear

    def _model(self) -> Any:
        raw = read_json(self.folder / "config.json")
        language = language_config(raw, self.folder / "config.json")
        model = build_language_model(language, attention="eager")
        weights = {name: tensor.float() for name, tensor in self._read("model_fp16").items()}
        model.load_state_dict(weights)
        return model.requires_grad_(False).eval()

    def _guard(self, file: str, checks: Iterator[Check]) -> FileReport:
        try:
            done = tuple(checks)
        except VilaError as error:
            done = (Check("file", failure=error.message),)
        return FileReport(self._path(file), done)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def _read(self, name: str) -> dict[str, torch.Tensor]:
        file = SafetensorsFile(self._path(name))
        return {key: file.read(key) for key in file.tensors}


def reference_rounding(stored: Tensors, name: str) -> Rounded:
    """A linear of pseudo_quant.safetensors: two integers a byte, the even column low."""
    pairs = stored[f"{name}.q"]
    q = torch.stack([pairs & 15, pairs >> 4], dim=-1).flatten(1)
    return Rounded(q, stored[f"{name}.s"], stored[f"{name}.z"])


def _relative(
    stage: str, name: str, mine: torch.Tensor, theirs: torch.Tensor, tolerance: float
) -> Check:
    if mine.shape != theirs.shape:
        return Check(stage, failure=f"{name}: shape {list(mine.shape)}, not {list(theirs.shape)}")
    worst = float(((mine - theirs).abs() / theirs.abs().clamp(min=1e-12)).max())
    return Check(stage, worst, failure="" if worst <= tolerance else f"{name} is {worst:.1e} off")
