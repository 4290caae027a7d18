# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""tensorrt 10, as far as building and running a visual engine goes.

Written from the calls of tensorrt_llm/tools/multimodal_builder.py at b35ac1b64368 and
tensorrt_llm/runtime/session.py at 02721299c5d7. An engine here is JSON that tells its shapes; it
"runs" by writing each image's mean into all of its rows.
"""

from __future__ import annotations

import ctypes
import json
from enum import Enum, IntEnum
from typing import Any

from contract_recorder import contract, require

__version__ = "10.11.0"


class Logger:
    """Its levels are attributes."""

    INFO = 3
    WARNING = 2

    @contract
    def __init__(self, min_severity: int = 2) -> None:
        self.min_severity = min_severity


class DataType(Enum):
    """The types that vision engines have."""

    FLOAT = 0
    HALF = 1
    INT8 = 2
    BF16 = 7


class TensorIOMode(Enum):
    """Which way a tensor goes."""

    INPUT = 1
    OUTPUT = 2


class NetworkDefinitionCreationFlag(IntEnum):
    """Bits of create_network's flags."""

    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class BuilderFlag(Enum):
    """What a builder may do."""

    FP16 = 0


class Network:
    """What the parser fills."""

    graph: bytes = b""


class OnnxParser:
    """Reads a graph into a network."""

    @contract
    def __init__(self, network: Network, logger: Logger) -> None:
        self.network = network
        self.num_errors = 0

    @contract
    def parse(self, model: bytes, path: str | None = None) -> bool:
        self.network.graph = model
        self.num_errors = 0 if model.startswith(b"onnx") else 1
        return self.num_errors == 0

    @contract
    def get_error(self, index: int) -> str:
        return "not an ONNX graph"


class Profile:
    """Smallest, usual and largest shapes of the inputs."""

    @contract
    def set_shape(
        self, input: str, min: tuple[int, ...], opt: tuple[int, ...], max: tuple[int, ...]
    ) -> None:
        require(all(a <= b <= c for a, b, c in zip(min, opt, max, strict=True)), "min, opt, max")
        self.largest = max


class BuilderConfig:
    """What is built for."""

    def __init__(self) -> None:
        self.flags: list[BuilderFlag] = []

    @contract
    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags.append(flag)

    @contract
    def add_optimization_profile(self, profile: Profile) -> int:
        self.profile = profile
        return 0


class Builder:
    """Makes engines."""

    @contract
    def __init__(self, logger: Logger) -> None:
        pass

    @contract
    def create_network(self, flags: int = 0) -> Network:
        require(flags & 1, "EXPLICIT_BATCH")
        return Network()

    @contract
    def create_builder_config(self) -> BuilderConfig:
        return BuilderConfig()

    @contract
    def create_optimization_profile(self) -> Profile:
        return Profile()

    @contract
    def build_serialized_network(self, network: Network, config: BuilderConfig) -> bytes | None:
        if b"unbuildable" in network.graph:
            return None
        about = {"largest": config.profile.largest, "rows": 4, "hidden": 64}
        return json.dumps(about).encode()


class Context:
    """Runs an engine on tensors given by their addresses."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._shape: tuple[int, ...] = ()
        self._places: dict[str, int] = {}

    @contract
    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        fits = shape[0] <= self._engine.about["largest"][0]
        self._shape = shape if fits else self._shape
        return fits and list(shape[1:]) == self._engine.about["largest"][1:]

    @contract
    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (self._shape[0], self._engine.about["rows"], self._engine.about["hidden"])

    @contract
    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._places[name] = memory
        return True

    @contract
    def execute_async_v3(self, stream_handle: int) -> bool:
        count = self._shape[0]
        size = self._shape[1] * self._shape[2] * self._shape[3]
        given = (ctypes.c_float * (count * size)).from_address(self._places["input"])
        each = self._engine.about["rows"] * self._engine.about["hidden"]
        made = (ctypes.c_float * (count * each)).from_address(self._places[self._engine.output])
        for image in range(count):
            mean = sum(given[image * size : (image + 1) * size]) / size
            for index in range(each):
                made[image * each + index] = mean
        return True


class Engine:
    """ICudaEngine."""

    def __init__(self, about: dict[str, Any]) -> None:
        self.about = about
        self.output = about.get("output", "encoder_output")
        self.num_io_tensors = 2

    @contract
    def create_execution_context(self) -> Context:
        return Context(self)

    @contract
    def get_tensor_name(self, index: int) -> str:
        return ("input", self.output)[index]

    @contract
    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name == "input" else TensorIOMode.OUTPUT

    @contract
    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType.FLOAT

    @contract
    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, self.about["rows"], self.about["hidden"])


class Runtime:
    """Reads serialized engines; None for one of another version or GPU."""

    @contract
    def __init__(self, logger: Logger) -> None:
        pass

    @contract
    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Engine | None:
        try:
            return Engine(json.loads(serialized_engine))
        except ValueError:
            return None
