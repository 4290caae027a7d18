# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A language model to TensorRT-LLM's checkpoints, int4 (W4A16_AWQ) or float16, by nvidia-modelopt.

    python -m vila_ros.quantization.modelopt_awq --model DIR --out OUT --calibration IMAGES

writes OUT/checkpoint, which trtllm-build reads, and for int4 OUT/vila, a VILA folder that the
PyTorch backend reads. Needs requirements/export.txt, no TensorRT-LLM; runs on a GPU or a CPU.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from vila_ros.errors import InvalidRequest, Unsupported, VilaError
from vila_ros.model.checkpoint import load_vila, locate
from vila_ros.model.config import LanguageConfig, VilaConfig, read_config
from vila_ros.model.vila import Vila
from vila_ros.quantization.calibration import SAMPLES, embeddings_of, read_samples
from vila_ros.quantization.out_folder import check_free

PRECISIONS = ("int4_awq", "float16")
GROUP = 128
"""Weights that share a scale; TensorRT-LLM's int4 kernels know 64 and 128."""

# The kinds of language models, as config.VilaConfig and as modelopt name them.
_DECODERS = {"llama": ("llama", "LlamaForCausalLM")}


def export(
    model: Path,
    out: Path,
    *,
    precision: str = "int4_awq",
    calibration: Path | None = None,
    samples: int = SAMPLES,
    device: str = "cpu",
    progress: Callable[[str], None] = print,
) -> Path:
    """Write OUT/checkpoint (and OUT/vila for int4), whole or not at all; returns OUT.

    calibration: a folder of images, see calibration.read_samples; needed for int4. device: where
    the model is loaded, float16 on a GPU, float32 on a CPU. Raises InvalidRequest, also where
    something stands at OUT, Unsupported for NVILA and without modelopt, and what load_vila raises.
    """
    check_free(out)
    check_precision(precision)
    config = read_config(model)
    check_exportable(config)
    if precision == "int4_awq" and calibration is None:
        raise InvalidRequest("int4_awq needs --calibration, a folder of typical camera images")
    chosen = read_samples(calibration, samples) if calibration is not None else ()
    modelopt = _import_modelopt()
    kind = "float16" if device.startswith("cuda") else "float32"
    progress(f"loading {model} as {kind} on {device}")
    vila = load_vila(model, device=device, dtype=kind)
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    language_model = vila.language_model
    language_model.config.architectures = [_DECODERS[config.language.kind][1]]
    with torch.inference_mode(False), torch.no_grad():
        if precision == "int4_awq":
            progress(f"calibrating with {len(chosen)} images")
            quantise(modelopt, vila, chosen, progress)
        progress("writing the checkpoint for trtllm-build")
        modelopt.export.export_tensorrt_llm_checkpoint(
            language_model,
            _DECODERS[config.language.kind][0],
            torch.float16,
            str(part / "checkpoint"),
            inference_tensor_parallel=1,
        )
        complete_config(part / "checkpoint" / "config.json", config.language)
        if precision == "int4_awq":
            progress("writing the folder for the PyTorch backend")
            _write_vila_folder(modelopt, language_model, config, part / "vila")
    part.replace(out)
    return out


def quantise(
    modelopt: Any, vila: Vila, samples: Sequence[Any], progress: Callable[[str], None]
) -> None:
    """Calibrate the language model in place."""

    def forward(language_model: torch.nn.Module) -> None:
        for number, embedded in enumerate(embeddings_of(vila, samples), 1):
            language_model(inputs_embeds=embedded, use_cache=False)
            progress(f"calibrated with image {number} of {len(samples)}")

    modelopt.quantization.quantize(vila.language_model, modelopt.quantization.INT4_AWQ_CFG, forward)


def complete_config(path: Path, language: LanguageConfig) -> None:
    """Write into a checkpoint's config.json what modelopt leaves out of it.

    Without TensorRT-LLM beside it, modelopt describes the model itself, and under transformers 5 it
    misses the base of the rotary embedding, for which TensorRT-LLM then takes 10000: wrong, without
    any error, for every Llama-3 (500000).
    """
    raw = json.loads(path.read_text(encoding="utf-8"))
    settings = language.raw.get("rope_parameters") or {}
    theta = language.raw.get("rope_theta") or settings.get("rope_theta") or 10_000.0
    raw["rotary_base"] = float(theta)
    scaling = language.raw.get("rope_scaling")
    if scaling:
        raw["rotary_scaling"] = dict(scaling)
    raw["max_position_embeddings"] = language.raw["max_position_embeddings"]
    raw["norm_epsilon"] = float(language.raw.get("rms_norm_eps", raw["norm_epsilon"]))
    path.write_text(json.dumps(raw, indent=4), encoding="utf-8")


def check_precision(precision: str) -> None:
    """Raise InvalidRequest unless the precision is known."""
    if precision not in PRECISIONS:
        raise InvalidRequest(f"precision {precision!r} is unknown; known: {', '.join(PRECISIONS)}")


def check_exportable(config: VilaConfig) -> None:
    """Raise Unsupported unless the engine path can run the model's language part."""
    if config.generation == "nvila" or config.language.kind not in _DECODERS:
        raise Unsupported(
            f"{config.root} is NVILA or has a {config.language.kind} language model, which "
            "TensorRT-LLM's engine path cannot run (VILA1.5 only); use runtime "
            "'tensorrt_llm_pytorch' or 'torch'"
        )
    for name in ("hidden_size", "intermediate_size"):
        size = int(config.language.raw.get(name, GROUP))
        if size % GROUP:
            raise Unsupported(
                f"{config.root}: {name} {size} is no multiple of {GROUP}, the group that AWQ "
                "scales together; use --precision float16"
            )


def _write_vila_folder(
    modelopt: Any, language_model: torch.nn.Module, config: VilaConfig, folder: Path
) -> None:
    """A VILA folder with the int4 language model, hf_quant_config.json in its root."""
    folder.mkdir()
    llm = folder / "llm"
    modelopt.export.export_hf_checkpoint(language_model, torch.float16, str(llm))
    _halve(llm)
    shutil.copyfile(config.root / "config.json", folder / "config.json")
    shutil.move(llm / "hf_quant_config.json", folder / "hf_quant_config.json")
    for source, target in (
        (config.vision_folder, "vision_tower"),
        (config.projector_folder, "mm_projector"),
    ):
        shutil.copytree(source, folder / target)
    for source in config.llm_folder.iterdir():
        if source.suffix not in (".safetensors", ".bin") and "index" not in source.name:
            shutil.copyfile(source, llm / source.name)


def _halve(folder: Path) -> None:
    """What modelopt leaves in float32 becomes float16, but for the scales, which stay."""
    from safetensors.torch import load_file, save_file

    for path in folder.glob("*.safetensors"):
        tensors = {
            name: tensor.half()
            if tensor.dtype == torch.float32 and not name.endswith("weight_scale")
            else tensor
            for name, tensor in load_file(path).items()
        }
        save_file(tensors, path, metadata={"format": "pt"})


class _Modelopt:
    """The two parts of nvidia-modelopt that are used."""

    def __init__(self) -> None:
        self.quantization: Any = import_module("modelopt.torch.quantization")
        self.export: Any = import_module("modelopt.torch.export")


def _import_modelopt() -> _Modelopt:
    try:
        return _Modelopt()
    except ImportError as error:
        raise Unsupported(
            f"quantising and converting need nvidia-modelopt, which cannot be imported: {error}; "
            "pip install -r requirements/export.txt"
        ) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(prog="vila_ros.quantization.modelopt_awq")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--precision", choices=PRECISIONS, default="int4_awq")
    parser.add_argument("--calibration", type=Path, help="a folder of images")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(arguments)
    try:
        export(
            locate(args.model),
            args.out,
            precision=args.precision,
            calibration=args.calibration,
            samples=args.samples,
            device=args.device,
        )
    except VilaError as error:
        print(f"modelopt_awq: {error.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
