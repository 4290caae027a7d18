# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A visual engine run by the TensorRT runtime.

Calls as tensorrt_llm/runtime/session.py of NVIDIA/TensorRT-LLM makes them (read at 02721299), which
are the same in TensorRT 8.6 to 10; `tensorrt` is installed with every tensorrt_llm.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch

from vila_ros.engine.engine_folder import VisualEngine
from vila_ros.errors import EngineFailed, InvalidCheckpoint, OutOfMemory, Unsupported

INPUT = "input"


class VisualSession:
    """Images to rows on one GPU; see vision_front.ImageEncoder. One thread at a time uses it."""

    def __init__(self, engine: VisualEngine, device: str) -> None:
        try:
            self._trt: Any = importlib.import_module("tensorrt")
        except ImportError as error:
            raise Unsupported(
                f"{engine.file} needs the Python package tensorrt, which is not importable here: "
                f"{error}; it comes with tensorrt_llm"
            ) from error
        self._device = torch.device(device)
        self._file = engine.file
        runtime = self._trt.Runtime(self._trt.Logger(self._trt.Logger.WARNING))
        self._engine = runtime.deserialize_cuda_engine(engine.file.read_bytes())
        if self._engine is None:
            raise InvalidCheckpoint(
                f"{engine.file} cannot be deserialized by TensorRT {self._trt.__version__} on this "
                "GPU; build it again on this machine"
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise OutOfMemory(f"no memory for the execution context of {engine.file}")
        self._output = self._output_name()
        self._dtype = self._torch_dtype(self._engine.get_tensor_dtype(INPUT))
        self._output_dtype = self._torch_dtype(self._engine.get_tensor_dtype(self._output))
        shape = tuple(self._engine.get_tensor_shape(self._output))
        if len(shape) != 3:
            raise InvalidCheckpoint(
                f"{engine.file}: output {self._output} has shape {list(shape)}, expected [images, "
                "rows, hidden]"
            )
        self.rows = int(shape[1])
        self.max_images = engine.max_images

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """[B, 3, S, S] -> [B, rows, hidden] on the same device. Raises EngineFailed."""
        pixels = pixels.to(self._device, self._dtype).contiguous()
        if not self._context.set_input_shape(INPUT, tuple(pixels.shape)):
            raise EngineFailed(
                f"{self._file} takes no input of shape {list(pixels.shape)}; it was built for at "
                f"most {self.max_images} images"
            )
        shape = tuple(self._context.get_tensor_shape(self._output))
        output = torch.empty(shape, dtype=self._output_dtype, device=self._device)
        self._context.set_tensor_address(INPUT, pixels.data_ptr())
        self._context.set_tensor_address(self._output, output.data_ptr())
        stream = torch.cuda.current_stream(self._device)
        if not self._context.execute_async_v3(stream.cuda_stream):
            raise EngineFailed(f"TensorRT could not run {self._file} on {len(pixels)} images")
        # The caller hands the rows to the executor's own streams, which do not wait for this one.
        stream.synchronize()
        return output

    def _output_name(self) -> str:
        """The one output there is: encoder_output, or output in engines of 0.12."""
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        mode = self._trt.TensorIOMode.OUTPUT
        outputs = [name for name in names if self._engine.get_tensor_mode(name) == mode]
        if INPUT not in names or len(outputs) != 1:
            raise InvalidCheckpoint(
                f"{self._file} has tensors {', '.join(names)}; expected {INPUT} and one output"
            )
        return str(outputs[0])

    def _torch_dtype(self, dtype: Any) -> torch.dtype:
        known = {
            self._trt.DataType.HALF: torch.float16,
            self._trt.DataType.FLOAT: torch.float32,
            self._trt.DataType.BF16: torch.bfloat16,
        }
        if dtype not in known:
            raise InvalidCheckpoint(f"{self._file} has tensors of type {dtype}; expected float16")
        return known[dtype]
