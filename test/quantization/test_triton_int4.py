# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Triton's kernel for int4, on a GPU or interpreted; and what happens where it does not run."""

import pytest
import torch

from vila_ros.quantization import triton_runtime
from vila_ros.quantization.int4_linear import restored_on_device
from vila_ros.quantization.int4_weight import Int4Weight

pytest.importorskip("triton")

from vila_ros.quantization import triton_int4
from vila_ros.quantization.triton_int4 import restored

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def weight(rows, columns, group, scale_dtype=torch.float16):
    random = torch.Generator().manual_seed(0)
    packed = torch.randint(-(2**31), 2**31, (rows, columns // 8), generator=random)
    scales = torch.rand(rows, columns // group, generator=random) + 0.1
    zeros = torch.randint(0, 16, scales.shape, generator=random)
    return Int4Weight(
        packed.to(torch.int32), scales.to(scale_dtype), zeros.to(torch.uint8)
    ).to(DEVICE)  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    ("rows", "columns", "group", "scales"),
    [
        (64, 512, 128, torch.float16),
        (70, 384, 32, torch.bfloat16),
        (19, 1040, 8, torch.float32),
    ],
)
def test_restored_weights_are_rounded_once(rows, columns, group, scales, dtype):
    four = weight(rows, columns, group, scales)
    assert torch.equal(restored(four, dtype), four.dequantise(dtype))
    assert torch.equal(restored_on_device(four, dtype), four.dequantise(dtype))


def test_nothing_is_tried_without_a_gpu():
    assert not triton_runtime.usable(torch.device("cpu"))


def test_kernels_that_are_wrong_or_fail_are_not_used(monkeypatch, caplog):
    triton_int4.try_out(DEVICE)
    wrong = lambda four, dtype: torch.zeros(four.rows, four.columns)  # noqa: E731
    monkeypatch.setattr(triton_int4, "restored", wrong)
    with pytest.raises(RuntimeError, match=r"restored as 0\.0"):
        triton_int4.try_out(DEVICE)

    def fail(device):
        raise RuntimeError("no C compiler")

    monkeypatch.setattr(triton_int4, "try_out", fail)
    triton_runtime.usable.cache_clear()
    assert not triton_runtime.usable(torch.device("cuda", 7))
    assert "no C compiler" in caplog.text
    triton_runtime.usable.cache_clear()


def test_they_are_left_alone_where_the_user_says_so(monkeypatch):
    monkeypatch.setenv(triton_runtime.OVERRIDE, "off")
    triton_runtime.usable.cache_clear()
    assert not triton_runtime.usable(torch.device("cuda", 6))
    triton_runtime.usable.cache_clear()
