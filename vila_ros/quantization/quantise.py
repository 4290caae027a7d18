# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A VILA folder to one with an int4 language model, block by block.

Only one block is ever held, in float32; the others stay on the disk. Each finished block is written
to OUT.part/work, so that a run that was killed goes on where it ended: activations are computed
again by the float blocks, which costs a few hundredths of the search.
"""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vila_ros.errors import InvalidCheckpoint, InvalidRequest
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.config import VilaConfig, read_config
from vila_ros.model.vila import Vila
from vila_ros.model.weights import SafetensorsFile, WeightFile, open_weights, walk
from vila_ros.quantization.awq_search import (
    BlockSearch,
    Rounding,
    linears_of,
    observe,
    run_block,
    search_block,
)
from vila_ros.quantization.float_blocks import FloatBlocks, check_weights, digest_of
from vila_ros.quantization.formats import FORMATS
from vila_ros.quantization.groups import GROUP, check_group, round_to_groups
from vila_ros.quantization.int4_folder import Int4Folder, StoredTensor, int4_of
from vila_ros.quantization.int4_weight import Int4Weight
from vila_ros.quantization.int4_writer import (
    format_named,
    write_folder,
    write_safetensors,
)
from vila_ros.quantization.out_folder import check_free
from vila_ros.quantization.quality import AWQ, FLOAT, NEAREST, Quality, judge
from vila_ros.quantization.report import LayerError, QuantiseReport, write_report
from vila_ros.quantization.samples import Encoded, SampleSet, check_size, encode

WORKING = FORMATS["compressed-tensors"]
"""In which finished blocks wait for the others."""
ERROR_TOKENS = 512  # by which a layer's error is measured


@dataclass(frozen=True)
class QuantiseOptions:
    """group: weights that share a scale. format: what is written, see formats. device: where blocks
    are searched, "cpu" or "cuda:0"."""

    group: int = GROUP
    format: str = "compressed-tensors"
    device: str = "cpu"


def quantise_folder(
    model: Path,
    out: Path,
    samples: SampleSet,
    options: QuantiseOptions | None = None,
    progress: Callable[[str], None] = print,
) -> QuantiseReport:
    """Write out, whole or not at all, and out.report.json and .md beside it.

    Raises InvalidRequest for what cannot be quantised that way, InvalidCheckpoint for damaged
    weights, and what load_vila raises.
    """
    options = options or QuantiseOptions()
    config = read_config(model)
    check_quantisable(config, options)
    check_free(out)
    run = Run(config, out, samples, options, progress)
    return run.finish(run.blocks())


def check_quantisable(config: VilaConfig, options: QuantiseOptions) -> None:
    """Raise InvalidRequest or InvalidCheckpoint for what would fail later; reads all weights."""
    format_named(options.format)
    files = open_weights(config.llm_folder)
    if int4_of(config.llm_folder, files) is not None:
        raise InvalidRequest(
            f"{config.root} is int4 already; vila convert changes its format, and quantising anew "
            "needs the float checkpoint"
        )
    for _, name, info in walk(files):
        if ".layers." in f".{name}" and len(info.shape) == 2:
            check_group(name, info.shape[1], options.group)
    check_weights(files)


class Run:
    """One quantisation, which may go on where another ended."""

    def __init__(
        self,
        config: VilaConfig,
        out: Path,
        samples: SampleSet,
        options: QuantiseOptions,
        progress: Callable[[str], None],
    ) -> None:
        self.config = config
        self.out = out
        self.samples = samples
        self.options = options
        self.progress = progress
        self.rounding = Rounding(options.group, symmetric=options.format == "modelopt")
        self.device = torch.device(options.device)
        self.layers = FloatBlocks(config)
        self.part = out.with_name(out.name + ".part")
        self.work = self.part / "work"
        self._rotary: Any = None
        self._contexts: dict[int, Mapping[str, Any]] = {}

    def blocks(self) -> tuple[list[LayerError], dict[str, Quality]]:
        """Quantise what is not done yet; each layer's error, and each version's quality."""
        self.progress(f"loading {self.config.root}")
        vila = load_vila(self.config.root)
        calibration, held_out = self._encode(vila)
        # Of the loaded model only the output layer is wanted again; let go of the vision tower.
        language_model = vila.language_model
        self._rotary = language_model.model.rotary_emb
        del vila
        self._begin(calibration)
        samples = [sample.rows.to(self.device) for sample in calibration]
        judged = [sample.rows.to(self.device) for sample in held_out]
        states = dict.fromkeys((FLOAT, AWQ, NEAREST), judged)
        contexts = [self._context(x.shape[1]) for x in samples]
        judged_contexts = [self._context(x.shape[1]) for x in judged]
        errors: list[LayerError] = []
        open_blocks = [i for i in range(len(self.layers)) if not self._path(i).is_file()]
        if len(open_blocks) < len(self.layers):
            done = len(self.layers) - len(open_blocks)
            self.progress(f"going on after {done} finished blocks")
        started = time.monotonic()
        with torch.no_grad():
            for number in range(len(self.layers)):
                block = self.layers.read(number, self.device)
                states[FLOAT] = run_block(block, states[FLOAT], judged_contexts)
                states[NEAREST] = self._run_nearest(block, states[NEAREST], judged_contexts)
                if number in open_blocks:
                    samples = self._quantise(number, block, samples, contexts)
                    left = sum(other > number for other in open_blocks)
                    pace = (time.monotonic() - started) / (len(open_blocks) - left)
                    self._tell(number, pace * left)
                elif open_blocks and number < open_blocks[-1]:
                    samples = run_block(block, samples, contexts)
                self._restore(number, block)
                states[AWQ] = run_block(block, states[AWQ], judged_contexts)
                errors += self._errors(number)
                del block  # before the next is read
        on_cpu = {version: [x.cpu() for x in state] for version, state in states.items()}
        return errors, judge(language_model, on_cpu, held_out)

    def finish(self, result: tuple[list[LayerError], dict[str, Quality]]) -> QuantiseReport:
        """Write the folder, check that it loads, and report."""
        errors, quality = result
        report = QuantiseReport(
            model=self.config.name,
            format=self.options.format,
            group=self.options.group,
            symmetric=self.rounding.symmetric,
            origin=self.samples.origin,
            calibration_samples=len(self.samples.calibration),
            held_out_samples=len(self.samples.held_out),
            quality=quality,
            layers=tuple(errors),
        )
        source = self._source()
        folder = self.part / "folder"
        shutil.rmtree(folder, ignore_errors=True)
        details = {"calibration": self.samples.origin}
        write_folder(
            self.config, source, folder, format_named(self.options.format), details, self.progress
        )
        load_vila(folder, dtype="float32")
        write_report(report, self.out)
        if self.out.is_dir():
            self.out.rmdir()  # it is empty, or check_free had refused it
        folder.replace(self.out)
        shutil.rmtree(self.part)
        return report

    # Samples

    def _encode(self, vila: Vila) -> tuple[list[Encoded], list[Encoded]]:
        total = len(self.samples.calibration) + len(self.samples.held_out)
        self.progress(f"encoding {total} samples from {self.samples.origin}")
        calibration, held_out = (
            [encode(vila, conversation) for conversation in some]
            for some in (self.samples.calibration, self.samples.held_out)
        )
        check_size(calibration, self.samples.origin)
        return calibration, held_out

    def _context(self, length: int) -> Mapping[str, Any]:
        """A block's arguments besides the hidden states."""
        if length not in self._contexts:
            positions = torch.arange(length, device=self.device)[None]
            probe = torch.zeros(1, length, 1, device=self.device)
            rotary = copy.deepcopy(self._rotary).to(self.device)
            # No mask: scaled_dot_product_attention is causal without one.
            self._contexts[length] = {
                "position_embeddings": rotary(probe, positions),
                "attention_mask": None,
            }
        return self._contexts[length]

    def _begin(self, calibration: Sequence[Encoded]) -> None:
        """Keep the work of a run with the same inputs, and no other's."""
        total = hashlib.sha256(repr((asdict(self.options), self.config.root.name)).encode())
        # By their bytes: a model that was trained on has the same names and sizes.
        weights = [file.path for file in open_weights(self.config.llm_folder)]
        total.update(digest_of(weights).encode())
        for sample in calibration:
            total.update(sample.rows.numpy().tobytes())
        key = total.hexdigest()
        stamp = self.work / "run.json"
        text = json.dumps({"key": key})
        # A run may have been killed while it wrote this: then it has no blocks yet.
        if stamp.is_file() and stamp.read_text(errors="replace") == text:
            return
        shutil.rmtree(self.part, ignore_errors=True)
        self.work.mkdir(parents=True)
        stamp.write_text(text)

    # Blocks

    def _quantise(
        self,
        number: int,
        block: nn.Module,
        samples: Sequence[torch.Tensor],
        contexts: Sequence[Mapping[str, Any]],
    ) -> list[torch.Tensor]:
        """Search, round and write a block; returns what the float block gives the next."""
        inputs, outputs = observe(block, samples, contexts)
        nearest = {}
        for name, linear in linears_of(block).items():
            weight = linear.weight.data
            plain = self._round(name, weight).dequantise()
            nearest[name] = _relative(_some(inputs.linears[name]), plain, weight)
            del weight, plain  # the search makes weights of its own, and lets go of these
        found = search_block(block, inputs, self.rounding)
        rounded = {
            name: self._round(f"model.layers.{number}.{name}", linear.weight.data)
            for name, linear in linears_of(block).items()
        }
        self._write(number, block, rounded)
        errors = {
            name: {
                "awq": _relative(
                    _some(inputs.linears[name]), made.dequantise(), found.scaled[name]
                ),
                "nearest": nearest[name],
            }
            for name, made in rounded.items()
        }
        facts = {"errors": errors, "ratios": _ratios(found)}
        facts_path = self._path(number).with_suffix(".json")
        facts_path.write_text(json.dumps(facts, indent=1))
        # Renamed last: where it stands, the block is done.
        self._path(number).with_suffix(".part").replace(self._path(number))
        return outputs

    def _round(self, name: str, weight: torch.Tensor) -> Int4Weight:
        rounded = round_to_groups(weight, self.rounding.group, self.rounding.symmetric)
        made = Int4Weight.of(rounded, torch.float16)
        if not bool(torch.isfinite(made.scales).all()):
            raise InvalidCheckpoint(
                f"{name} has weights so large that their scales exceed float16's 65504; the "
                "checkpoint is damaged"
            )
        return made

    def _write(self, number: int, block: nn.Module, rounded: Mapping[str, Int4Weight]) -> None:
        prefix = f"model.layers.{number}."
        tensors = {
            f"{prefix}{name}.{suffix}": tensor.cpu()
            for name, weight in rounded.items()
            for suffix, tensor in WORKING.write(name, weight.to(torch.device("cpu"))).items()
        }
        for name, tensor in block.state_dict().items():
            if name.removesuffix(".weight") not in rounded:
                tensors[prefix + name] = tensor.cpu()
        write_safetensors(self._path(number).with_suffix(".part"), tensors)

    def _restore(self, number: int, block: nn.Module) -> None:
        """Give a block the weights that were written for it."""
        source = int4_of(self.work, [SafetensorsFile(self._path(number))])
        assert source is not None
        prefix = f"model.layers.{number}."
        for name, linear in linears_of(block).items():
            weight = source.weight(prefix + name, (linear.out_features, linear.in_features))
            linear.weight.data = weight.to(self.device).dequantise()
            if linear.bias is not None:
                stored = source.layers[prefix + name]["bias"]
                linear.bias.data = stored.read().to(self.device)
        for name, stored in source.others.items():
            block.get_parameter(name.removeprefix(prefix)).data = stored.read().to(self.device)

    def _run_nearest(
        self,
        block: nn.Module,
        states: Sequence[torch.Tensor],
        contexts: Sequence[Mapping[str, Any]],
    ) -> list[torch.Tensor]:
        """The block rounded to nearest, without scales and clips; it is left as it was."""
        linears = linears_of(block)
        original = {name: linear.weight.data for name, linear in linears.items()}
        for name, linear in linears.items():
            linear.weight.data = self._round(name, linear.weight.data).dequantise()
        outputs = run_block(block, states, contexts)
        for name, linear in linears.items():
            linear.weight.data = original[name]
        return outputs

    def _source(self) -> Int4Folder:
        """All blocks that were written, with the rest of the source checkpoint."""
        files: list[WeightFile] = [
            SafetensorsFile(self._path(number)) for number in range(len(self.layers))
        ]
        blocks = int4_of(self.work, files)
        assert blocks is not None
        originals = open_weights(self.config.llm_folder)
        rest = {
            name: StoredTensor(file, name)
            for file, name, _ in walk(originals)
            if not name.startswith("model.layers.") and not name.endswith("inv_freq")
        }
        return Int4Folder(
            self.work,
            (*files, *originals),
            blocks.format,
            blocks.layers,
            {**rest, **blocks.others},
        )

    def _errors(self, number: int) -> list[LayerError]:
        facts = json.loads(self._path(number).with_suffix(".json").read_text())
        return [
            LayerError(f"model.layers.{number}.{name}", values["awq"], values["nearest"])
            for name, values in facts["errors"].items()
        ]

    def _tell(self, number: int, left: float) -> None:
        errors = self._errors(number)
        awq = sum(error.awq for error in errors) / len(errors)
        nearest = sum(error.nearest for error in errors) / len(errors)
        self.progress(
            f"block {number + 1} of {len(self.layers)}: error {awq:.3f}, by rounding to nearest "
            f"{nearest:.3f}; about {left / 60:.0f} min left"
        )

    def _path(self, number: int) -> Path:
        return self.work / f"block-{number:03d}.safetensors"


def _some(x: torch.Tensor) -> torch.Tensor:
    """At most about ERROR_TOKENS rows, evenly."""
    return x[:: max(1, len(x) // ERROR_TOKENS)]


def _relative(x: torch.Tensor, rounded: torch.Tensor, weight: torch.Tensor) -> float:
    """Relative root mean square error of a layer's output."""
    expected = x @ weight.T
    return float((x @ rounded.T - expected).norm() / expected.norm().clamp(min=1e-12))


def _ratios(found: BlockSearch) -> dict[str, float]:
    return {scale.group.previous: scale.ratio for scale in found.scales}
