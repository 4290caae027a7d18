# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The compiled int4 kernels of native/, by ctypes.

The package's build compiles them (CMakeLists.txt, or setup.py under pip). Where they are absent,
library() is None and the layers compute by torch instead, slower. To compile them for a source tree
that was not built:

    python -m vila_ros.quantization.native
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from ctypes import POINTER, c_char_p, c_double, c_float, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path

import torch

import vila_ros
from vila_ros.errors import Unsupported
from vila_ros.quantization.int4_weight import Int4Weight

SOURCES = ("kernels.c", "team.c", "decode.c", "prompt.c")
LIBRARY = "libvila_int4.so"
FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math")
"""The same as in CMakeLists.txt and setup.py."""

OVERRIDE = "VILA_INT4_LIBRARY"
"""Environment variable: another library's path, or "off" for none."""

SET_OVERRIDE = "VILA_INT4_KERNELS"
"""Environment variable: the instruction set to use, see instruction_set(); the best by default."""

KINDS = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}


class Int4Matrix(ctypes.Structure):
    """Int4Matrix of native/int4.h."""

    _fields_ = (
        ("packed", c_void_p),
        ("scales", c_void_p),
        ("zeros", c_void_p),
        ("input_scale", c_void_p),
        ("bias", c_void_p),
        ("rows", c_int64),
        ("columns", c_int64),
        ("group", c_int64),
        ("scale_kind", c_int64),
    )


class DenseMatrix(ctypes.Structure):
    """DenseMatrix of native/int4.h."""

    _fields_ = (("weight", c_void_p), ("rows", c_int64), ("columns", c_int64), ("kind", c_int64))


class DecoderLayer(ctypes.Structure):
    """DecoderLayer of native/int4.h."""

    _fields_ = (
        *((name, Int4Matrix) for name in ("query", "key", "value", "output", "gate", "up", "down")),
        ("input_norm", c_void_p),
        ("post_norm", c_void_p),
    )


class DecoderModel(ctypes.Structure):
    """DecoderModel of native/int4.h."""

    _fields_ = (
        *((name, c_int64) for name in ("layers", "hidden", "heads", "kv_heads", "head_dim", "mlp")),
        ("epsilon", c_float),
        ("scaling", c_float),
        ("layer", POINTER(DecoderLayer)),
        ("norm", c_void_p),
        ("embeddings", DenseMatrix),
        ("head", DenseMatrix),
    )


class DecoderStep(ctypes.Structure):
    """DecoderStep of native/int4.h."""

    _fields_ = (
        ("batch", c_int64),
        ("capacity", c_int64),
        ("tokens", c_void_p),
        ("best", c_void_p),
        ("cosine", c_void_p),
        ("sine", c_void_p),
        ("angles", POINTER(c_int64)),
        ("slots", POINTER(c_int64)),
        ("positions", POINTER(c_int64)),
        ("keys", POINTER(c_void_p)),
        ("values", POINTER(c_void_p)),
        ("logits", c_void_p),
    )


class PromptRows(ctypes.Structure):
    """PromptRows of native/int4.h."""

    _fields_ = (
        *(
            (name, c_int64)
            for name in (
                "rows", "start", "size", "mlp", "heads", "kv_heads", "head_dim", "capacity",
            )
        ),
        ("epsilon", c_float),
        ("scaling", c_float),
        *(
            (name, c_void_p)
            for name in (
                "hidden", "added", "projected", "bias", "scale", "weight", "cosine", "sine",
                "mixed", "normed", "active", "query", "keys", "values",
            )
        ),
    )  # fmt: skip


@cache
def library() -> ctypes.CDLL | None:
    """The kernels; None where they were not built."""
    override = os.environ.get(OVERRIDE)
    if override == "off":
        return None
    places = [Path(folder) / "quantization" / LIBRARY for folder in vila_ros.__path__]
    for place in [Path(override)] if override else places:
        if place.is_file():
            found = _declare(ctypes.CDLL(str(place)))
            wanted = os.environ.get(SET_OVERRIDE)
            if wanted and found.vila_choose(wanted.encode()):
                raise Unsupported(
                    f"{SET_OVERRIDE} is {wanted!r}, which this machine has not; "
                    f"unset it to use {found.vila_instruction_set().decode()!r}"
                )
            return found
    return None


def instruction_set() -> str:
    """Which kernels this machine runs; "" without the library.

    "avx512_vnni" and "avx2" multiply bytes where a group is a multiple of 128 columns, "avx512" and
    "generic" floats.
    """
    found = library()
    return found.vila_instruction_set().decode() if found is not None else ""


def _declare(found: ctypes.CDLL) -> ctypes.CDLL:
    found.vila_instruction_set.restype = c_char_p
    found.vila_choose.argtypes = [c_char_p]
    found.vila_linear.argtypes = [POINTER(Int4Matrix), c_void_p, c_int64, c_void_p, c_int]
    found.vila_dense.argtypes = [POINTER(DenseMatrix), c_void_p, c_int64, c_void_p, c_int]
    found.vila_dequantise.argtypes = [
        POINTER(Int4Matrix), c_int64, c_int64, c_void_p, c_int64, c_int,
    ]  # fmt: skip
    found.vila_decode.argtypes = [POINTER(DecoderModel), POINTER(DecoderStep), c_int]
    for name in ("norm", "gate", "turn", "attend", "narrow"):
        getattr(found, f"vila_prompt_{name}").argtypes = [POINTER(PromptRows), c_int]
    found.vila_read.argtypes = [c_void_p, c_int64, c_int]
    found.vila_read.restype = c_double
    return found


def check(status: int) -> None:
    """Raise MemoryError for a kernel's status other than 0."""
    if status:
        raise MemoryError("not enough memory for the int4 kernels' activations")


def int4_matrix(weight: Int4Weight, bias: torch.Tensor | None = None) -> Int4Matrix:
    """A weight as the kernels take it; the tensors must outlive it.

    input_scale and bias must be float32.
    """
    return Int4Matrix(
        packed=weight.packed.data_ptr(),
        scales=weight.scales.data_ptr(),
        zeros=weight.zeros.data_ptr(),
        input_scale=None if weight.input_scale is None else weight.input_scale.data_ptr(),
        bias=None if bias is None else bias.data_ptr(),
        rows=weight.rows,
        columns=weight.columns,
        group=weight.group,
        scale_kind=KINDS[weight.scales.dtype],
    )


def dense_matrix(weight: torch.Tensor) -> DenseMatrix:
    """A floating-point weight [rows, columns] as the kernels take it."""
    return DenseMatrix(weight.data_ptr(), *weight.shape, KINDS[weight.dtype])


def int4_product(
    kernels: ctypes.CDLL, matrix: Int4Matrix, x: torch.Tensor, rows: int
) -> torch.Tensor:
    """Float32 x [batch, columns] -> [batch, rows]."""
    out = torch.empty(len(x), rows)
    check(kernels.vila_linear(matrix, x.data_ptr(), len(x), out.data_ptr(), threads()))
    return out


def dense_product(
    kernels: ctypes.CDLL, matrix: DenseMatrix, x: torch.Tensor, rows: int
) -> torch.Tensor:
    """Float32 x [batch, columns] -> [batch, rows]."""
    out = torch.empty(len(x), rows)
    check(kernels.vila_dense(matrix, x.data_ptr(), len(x), out.data_ptr(), threads()))
    return out


def dequantised(
    kernels: ctypes.CDLL, matrix: Int4Matrix, first: int, last: int, out: torch.Tensor
) -> None:
    """Write rows [first, last) to out, float32 or bfloat16 [last - first, columns]."""
    kind = KINDS[out.dtype]
    check(kernels.vila_dequantise(matrix, first, last, out.data_ptr(), kind, threads()))


def threads() -> int:
    """As many as torch uses."""
    return torch.get_num_threads()


def compile_library(target: Path) -> Path:
    """Compile the kernels with cc. Raises CalledProcessError with the compiler's words."""
    folder = Path(__file__).parent / "native"
    part = target.with_suffix(".part")
    sources = [str(folder / name) for name in SOURCES]
    subprocess.run(["cc", *FLAGS, *sources, "-pthread", "-lm", "-o", str(part)], check=True)
    part.replace(target)
    return target


if __name__ == "__main__":
    sys.stdout.write(f"{compile_library(Path(__file__).with_name(LIBRARY))}\n")
