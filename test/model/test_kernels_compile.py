# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Triton's kernels become machine code for the GPUs that robots have, without one being here."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

# The interpreter that other tests use is chosen when kernels are defined, hence a process apart.
COMPILE = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from vila_ros.model import step_kernels as step
from vila_ros.quantization.triton_int4 import restore_kernel

HALF, LONG, FLOAT = "*bf16", "*i64", "*fp32"
CACHE = dict(projected=HALF, keys=HALF, values=HALF, positions=LONG, cosine=HALF, sine=HALF)
KERNELS = (
    (restore_kernel, dict(packed="*i32", scales="*fp16", zeros="*u8", out=HALF),
     dict(GROUP=128, OUTPUTS=8, COLUMNS=512), 4),
    (step.norm_kernel,
     dict(hidden=HALF, delta=HALF, weight=HALF, scale=FLOAT, out=HALF, epsilon="fp32"),
     dict(ADDED=True, SCALED=True, WIDTH=8192), 8),
    (step.attend_kernel,
     CACHE | dict(slots=LONG, sums=FLOAT, peaks=FLOAT, weights=FLOAT, scaling="fp32"),
     dict(GROUP=7, QUERIES=16, SIZE=128, SPLIT=128, BLOCK=step.BLOCK), 4),
    (step.gather_kernel,
     dict(sums=FLOAT, peaks=FLOAT, weights=FLOAT, positions=LONG, scale=FLOAT, out=HALF),
     dict(SIZE=128, SPLIT=128, SPLITS=step.MOST_SPLITS, SCALED=True), 4),
    (step.gate_kernel, dict(both=HALF, scale=FLOAT, out=HALF), dict(SCALED=True, WIDTH=1024), 4),
    (step.line_kernel, dict(x=HALF, weight=HALF, bias=HALF, out=HALF),
     dict(BIASED=True, OUTPUTS=step.LINE_OUTPUTS, COLUMNS=1024), 4),
    (step.rotate_kernel, CACHE | dict(queries=HALF), dict(HEADS=64, SIZE=128), 4),
)
target = GPUTarget("cuda", int(sys.argv[1]), 32)
for kernel, kinds, constants, warps in KERNELS:
    kinds = {
        name: kinds.get(name, "constexpr" if name in constants else "i32")
        for name in (parameter.name for parameter in kernel.params)
    }
    made = triton.compile(
        ASTSource(fn=kernel, signature=kinds, constexprs=constants),
        target=target, options={"num_warps": warps},
    )
    # An Orin's programs have at most 163 KiB of shared memory, an RTX's 99.
    assert made.asm["cubin"] and made.metadata.shared <= 99 << 10, kernel
    print(kernel.__name__)
"""


@pytest.mark.parametrize("capability", ["87", "89", "90"], ids=["Orin", "RTX 40", "Hopper"])
def test_every_kernel_compiles(capability):
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, capability],
        env=environment, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 7
