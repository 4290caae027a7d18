# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How others store int4 weights: AutoAWQ, TinyChat, compressed-tensors, NVIDIA modelopt.

A format is told by the tensors it has, never by a file's name. Reading gives an Int4Weight; writing
refuses what the format cannot hold exactly. Layouts as in AutoAWQ awq/utils/packing_utils.py,
llm-awq awq/quantize/qmodule.py, compressed-tensors compressors/quantized_compressors and modelopt
torch/export.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch

from vila_ros.errors import InvalidCheckpoint, InvalidRequest
from vila_ros.quantization.int4_weight import Int4Weight, pack_nibbles, unpack_nibbles

Tensors = Mapping[str, torch.Tensor]
"""A layer's tensors by suffix, e.g. "qweight"."""

GEMM_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of eight outputs each nibble of AutoAWQ's words holds, lowest nibble first."""


ZERO_TOLERANCE = 0.05
"""How far a zero point recovered from TinyChat's float16 product may lie from an integer."""


class Format(Protocol):
    """One way of storing a layer."""

    name: str
    """Its name on the command line."""
    marks: Mapping[str, torch.dtype]
    """Tensors, by suffix, that every quantised layer of this format has."""

    def read(self, layer: str, tensors: Tensors, shape: tuple[int, int]) -> Int4Weight:
        """A layer's weight [out, in]. Raises InvalidCheckpoint naming what does not fit."""

    def write(self, layer: str, weight: Int4Weight) -> dict[str, torch.Tensor]:
        """A layer's tensors. Raises InvalidRequest where that would not be exact, saying why."""

    def settings(self, group: int, symmetric: bool) -> dict[str, Any]:
        """quantization_config of llm/config.json."""


class AutoAwqGemm:
    """AutoAWQ, version "gemm": qweight i32 [in, out/8], qzeros i32 [in/group, out/8], scales f16
    [in/group, out]."""

    name = "gemm"
    marks: Mapping[str, torch.dtype] = {
        "qweight": torch.int32,
        "qzeros": torch.int32,
        "scales": torch.float16,
    }

    def read(self, layer: str, tensors: Tensors, shape: tuple[int, int]) -> Int4Weight:
        """See Format."""
        rows, columns = shape
        _expect(layer, "qweight", tensors["qweight"], (columns, rows // 8))
        groups = _group_count(layer, "scales", tensors["scales"].shape[0], columns)
        _expect(layer, "scales", tensors["scales"], (groups, rows))
        _expect(layer, "qzeros", tensors["qzeros"], (groups, rows // 8))
        return Int4Weight(
            pack_nibbles(_from_gemm(tensors["qweight"]).T.contiguous()),
            tensors["scales"].T.contiguous(),
            _from_gemm(tensors["qzeros"]).T.contiguous(),
        )

    def write(self, layer: str, weight: Int4Weight) -> dict[str, torch.Tensor]:
        """See Format."""
        _no_input_scale(self.name, layer, weight)
        _divides(self.name, layer, "outputs", weight.rows, 8)
        _exact_half(self.name, layer, weight.scales)
        return gemm_tensors(weight)

    def settings(self, group: int, symmetric: bool) -> dict[str, Any]:
        """See Format."""
        return {
            "quant_method": "awq",
            "version": "gemm",
            "bits": 4,
            "group_size": group,
            "zero_point": True,
            "modules_to_not_convert": None,
        }


class TinyChat:
    """TinyChat v2, as the published VILA1.5 AWQ checkpoints: qweight i16 [out/4, in], scales and
    scaled_zeros = -zero * scale, f16 [8 * ceil(groups / 8), out], rows past the groups zero."""

    name = "tinychat"
    marks: Mapping[str, torch.dtype] = {
        "qweight": torch.int16,
        "scales": torch.float16,
        "scaled_zeros": torch.float16,
    }

    def read(self, layer: str, tensors: Tensors, shape: tuple[int, int]) -> Int4Weight:
        """See Format. The zero points are recovered exactly from the scaled ones."""
        rows, columns = shape
        _expect(layer, "qweight", tensors["qweight"], (rows // 4, columns))
        scales, scaled = tensors["scales"], tensors["scaled_zeros"]
        used = int((scales != 0).any(dim=1).sum())
        groups = _group_count(layer, "scales", used, columns)
        padded = -(-groups // 8) * 8
        _expect(layer, "scales", scales, (padded, rows))
        _expect(layer, "scaled_zeros", scaled, (padded, rows))
        scales, scaled = scales[:groups].float(), scaled[:groups].float()
        # They were rounded to float16 after the product, so that a small fraction is left.
        exact = torch.where(scales == 0, 0, -scaled / scales)
        zeros = exact.round().clamp(0, 15)
        off = (exact - zeros).abs() > ZERO_TOLERANCE
        if bool(off.any()):
            raise InvalidCheckpoint(
                f"{layer}: {int(off.sum())} of {off.numel()} scaled_zeros are no multiple of their "
                "scale between 0 and 15; the file is damaged, or not of TinyChat's second version"
            )
        return Int4Weight(
            pack_nibbles(_from_tinychat(tensors["qweight"])),
            tensors["scales"][:groups].T.contiguous(),
            zeros.to(torch.uint8).T.contiguous(),
        )

    def write(self, layer: str, weight: Int4Weight) -> dict[str, torch.Tensor]:
        """See Format."""
        _no_input_scale(self.name, layer, weight)
        _divides(self.name, layer, "outputs", weight.rows, 4)
        _divides(self.name, layer, "inputs", weight.columns, 64)
        _exact_half(self.name, layer, weight.scales)
        out = tinychat_tensors(weight)
        again = self.read(layer, out, (weight.rows, weight.columns))
        if not torch.equal(again.zeros, weight.zeros):
            raise InvalidRequest(
                f"{layer} has scales so small that float16 cannot hold their products with the "
                "zero points, which TinyChat stores; use another format"
            )
        return out

    def settings(self, group: int, symmetric: bool) -> dict[str, Any]:
        """See Format."""
        return {
            "quant_method": "awq",
            "version": "gemv_fast",
            "bits": 4,
            "group_size": group,
            "zero_point": True,
        }


class CompressedTensors:
    """compressed-tensors "pack-quantized": weight_packed i32 [out, in/8], weight_scale [out,
    groups], weight_zero_point i32 [out/8, groups] packed along the outputs, weight_shape."""

    name = "compressed-tensors"
    marks: Mapping[str, torch.dtype] = {"weight_packed": torch.int32}

    def read(self, layer: str, tensors: Tensors, shape: tuple[int, int]) -> Int4Weight:
        """See Format. The packed weight is the stored tensor itself."""
        rows, columns = shape
        packed, scales = tensors["weight_packed"], _given(layer, tensors, "weight_scale")
        stated = tensors.get("weight_shape")
        if stated is not None and tuple(stated.tolist()) != shape:
            raise InvalidCheckpoint(
                f"{layer}.weight_shape says {stated.tolist()}, expected {list(shape)}"
            )
        _expect(layer, "weight_packed", packed, (rows, columns // 8))
        groups = _group_count(layer, "weight_scale", scales.shape[-1], columns)
        _expect(layer, "weight_scale", scales, (rows, groups))
        stored = tensors.get("weight_zero_point")
        if stored is None:
            zeros = torch.full((rows, groups), 8, dtype=torch.uint8)
        else:
            _expect(layer, "weight_zero_point", stored, (-(-rows // 8), groups))
            zeros = unpack_nibbles(stored.T.contiguous()).T.contiguous()[:rows]
        return Int4Weight(packed, scales, zeros)

    def write(self, layer: str, weight: Int4Weight) -> dict[str, torch.Tensor]:
        """See Format."""
        _no_input_scale(self.name, layer, weight)
        out = {
            "weight_packed": weight.packed.contiguous(),
            "weight_scale": weight.scales.contiguous(),
            "weight_shape": torch.tensor([weight.rows, weight.columns]),
        }
        if not weight.symmetric:
            padded = torch.nn.functional.pad(weight.zeros, (0, 0, 0, -weight.rows % 8))
            out["weight_zero_point"] = pack_nibbles(padded.T.contiguous()).T.contiguous()
        return out

    def settings(self, group: int, symmetric: bool) -> dict[str, Any]:
        """See Format."""
        weights = {
            "num_bits": 4,
            "type": "int",
            "symmetric": symmetric,
            "strategy": "group",
            "group_size": group,
        }
        return {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "quantization_status": "compressed",
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
            "ignore": ["lm_head"],
        }


class Modelopt:
    """NVIDIA modelopt W4A16_AWQ, symmetric: weight u8 [out/2, in] (the even output's nibble is the
    low one, two's complement), weight_scale f32 [out, groups], pre_quant_scale [in]."""

    name = "modelopt"
    marks: Mapping[str, torch.dtype] = {"weight": torch.uint8, "weight_scale": torch.float32}

    def read(self, layer: str, tensors: Tensors, shape: tuple[int, int]) -> Int4Weight:
        """See Format."""
        rows, columns = shape
        _expect(layer, "weight", tensors["weight"], (rows // 2, columns))
        scales = tensors["weight_scale"]
        groups = _group_count(layer, "weight_scale", scales.shape[-1], columns)
        _expect(layer, "weight_scale", scales, (rows, groups))
        before = tensors.get("pre_quant_scale")
        if before is not None:
            _expect(layer, "pre_quant_scale", before, (columns,))
            before = None if bool((before == 1).all()) else before
        stored = tensors["weight"]
        q = torch.stack([stored & 15, stored >> 4], dim=1).flatten(0, 1) ^ 8
        zeros = torch.full((rows, groups), 8, dtype=torch.uint8)
        return Int4Weight(pack_nibbles(q), scales, zeros, before)

    def write(self, layer: str, weight: Int4Weight) -> dict[str, torch.Tensor]:
        """See Format."""
        if not weight.symmetric:
            raise InvalidRequest(
                f"{layer} has zero points, which W4A16_AWQ does not have; quantise with "
                "--format modelopt, which rounds symmetrically"
            )
        _divides(self.name, layer, "outputs", weight.rows, 2)
        nibbles = weight.q() ^ 8
        out = {
            "weight": nibbles[0::2] | (nibbles[1::2] << 4),
            "weight_scale": weight.scales.float(),
        }
        before = weight.input_scale
        if before is not None:
            out["pre_quant_scale"] = before
        elif layer.endswith(("o_proj", "down_proj")):
            # Readers expect it where no norm stands before the layer.
            out["pre_quant_scale"] = torch.ones(weight.columns, dtype=torch.float16)
        return out

    def settings(self, group: int, symmetric: bool) -> dict[str, Any]:
        """What hf_quant_config.json holds; llm/config.json has no entry."""
        return {
            "producer": {"name": "modelopt", "version": "0.47.0"},
            "quantization": {
                "quant_algo": "W4A16_AWQ",
                "kv_cache_quant_algo": None,
                "group_size": group,
                "has_zero_point": False,
                "pre_quant_scale": True,
                "exclude_modules": ["lm_head"],
            },
        }


FORMATS: Mapping[str, Format] = {
    known.name: known for known in (CompressedTensors(), AutoAwqGemm(), TinyChat(), Modelopt())
}


def gemm_tensors(weight: Int4Weight) -> dict[str, torch.Tensor]:
    """AutoAWQ's tensors of a weight, its scales rounded to float16."""
    return {
        "qweight": _to_gemm(weight.q().T.contiguous()),
        "qzeros": _to_gemm(weight.zeros.T.contiguous()),
        "scales": weight.scales.half().T.contiguous(),
    }


def tinychat_tensors(weight: Int4Weight) -> dict[str, torch.Tensor]:
    """TinyChat's tensors of a weight, its scales and their products rounded to float16."""
    scaled = -(weight.zeros.float() * weight.scales.float())
    padding = -weight.scales.shape[1] % 8
    rows = {"scales": weight.scales.half(), "scaled_zeros": scaled.half()}
    return {
        "qweight": _to_tinychat(weight.q()),
        **{
            suffix: torch.nn.functional.pad(values.T, (0, 0, 0, padding)).contiguous()
            for suffix, values in rows.items()
        },
    }


def _from_gemm(words: torch.Tensor) -> torch.Tensor:
    """int32 [n, out/8] -> uint8 [n, out]."""
    nibbles = unpack_nibbles(words).view(len(words), -1, 8)
    places = torch.tensor(GEMM_ORDER).argsort()
    return nibbles[:, :, places].flatten(1)


def _to_gemm(q: torch.Tensor) -> torch.Tensor:
    """uint8 [n, out] -> int32 [n, out/8]."""
    return pack_nibbles(q.view(len(q), -1, 8)[:, :, list(GEMM_ORDER)].flatten(1))


def _from_tinychat(words: torch.Tensor) -> torch.Tensor:
    """int16 [out/4, in] -> uint8 [out, in]; see _to_tinychat."""
    quarter, columns = words.shape
    pairs = words.reshape(-1).view(torch.uint8).view(quarter, columns, 2)
    nibbles = torch.stack([pairs & 15, pairs >> 4], dim=-1).flatten(2)  # [R, in, u]
    parts = nibbles.view(quarter, columns // 64, 4, 2, 8, 4)  # R, C, a, b, c, u
    return parts.permute(0, 2, 1, 3, 5, 4).reshape(quarter * 4, columns)


def _to_tinychat(q: torch.Tensor) -> torch.Tensor:
    """uint8 [out, in] -> int16 [out/4, in].

    Word [R, 64C + 16a + 8b + c] holds q[4R + a, 64C + 32b + 8u + c] in its bits 4u to 4u+3.
    """
    rows, columns = q.shape
    parts = q.view(rows // 4, 4, columns // 64, 2, 4, 8).permute(0, 2, 1, 3, 5, 4)
    nibbles = parts.reshape(rows // 4, columns, 4)
    pairs = nibbles[:, :, 0::2] | (nibbles[:, :, 1::2] << 4)
    return pairs.reshape(-1).view(torch.int16).view(rows // 4, columns)


def _given(layer: str, tensors: Tensors, suffix: str) -> torch.Tensor:
    if suffix not in tensors:
        raise InvalidCheckpoint(f"{layer}.{suffix} is missing beside {', '.join(sorted(tensors))}")
    return tensors[suffix]


def _expect(layer: str, suffix: str, tensor: torch.Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise InvalidCheckpoint(
            f"{layer}.{suffix} has shape {list(tensor.shape)}, expected {list(shape)}"
        )


def _group_count(layer: str, suffix: str, groups: int, columns: int) -> int:
    if groups < 1 or columns % groups or (columns // groups) % 16:
        raise InvalidCheckpoint(
            f"{layer}.{suffix} has {groups} groups, which do not divide {columns} inputs into "
            "multiples of 16"
        )
    return groups


def _divides(name: str, layer: str, what: str, number: int, by: int) -> None:
    if number % by:
        raise InvalidRequest(
            f"{layer} has {number} {what}; format {name} packs {by} together, use another format"
        )


def _no_input_scale(name: str, layer: str, weight: Int4Weight) -> None:
    if weight.input_scale is not None:
        raise InvalidRequest(
            f"{layer} scales its input (pre_quant_scale), which format {name} cannot store, and "
            "folding it into the layer before would round again; quantise from the float "
            "checkpoint with --format instead"
        )


def _exact_half(name: str, layer: str, scales: torch.Tensor) -> torch.Tensor:
    half = scales.half()
    if not torch.equal(half.double(), scales.double()):
        raise InvalidRequest(
            f"{layer} has {scales.dtype} scales that float16 cannot hold, which format {name} "
            "stores; use --format compressed-tensors"
        )
    return half
