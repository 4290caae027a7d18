# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The GPU and the installed runtimes of this machine, found without importing any of them."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from importlib import metadata

# CUdevice_attribute of cuda.h: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR.
_CAPABILITY = (75, 76)


@dataclass(frozen=True)
class Gpu:
    """A CUDA GPU. architecture: "sm_87", …; memory_bytes: all of it, on a Jetson the machine's."""

    name: str
    architecture: str
    memory_bytes: int


@dataclass(frozen=True)
class Machine:
    """What decides whether an engine runs here; None for what is not there."""

    gpu: Gpu | None
    tensorrt_llm: str | None
    tensorrt: str | None


def this_machine(device: int = 0) -> Machine:
    """This machine as this interpreter sees it."""
    return Machine(
        find_gpu(device),
        installed_version("tensorrt_llm", "tensorrt-llm"),
        installed_version("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    )


def installed_version(*distributions: str) -> str | None:
    """The version of the first of these distributions that is installed."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def find_gpu(device: int = 0) -> Gpu | None:
    """GPU number `device` as the CUDA driver tells it; None without a driver or such a GPU.

    The driver library is asked directly: nvidia-smi is missing on a Jetson, and torch may be.
    """
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    handle = ctypes.c_int()
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGet(ctypes.byref(handle), device) != 0:
        return None
    name = ctypes.create_string_buffer(256)
    memory = ctypes.c_size_t()
    numbers = []
    for attribute in _CAPABILITY:
        value = ctypes.c_int()
        if cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, handle) != 0:
            return None
        numbers.append(value.value)
    if (
        cuda.cuDeviceGetName(name, len(name), handle) != 0
        or cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), handle) != 0
    ):
        return None
    return Gpu(name.value.decode(errors="replace"), f"sm_{numbers[0]}{numbers[1]}", memory.value)
