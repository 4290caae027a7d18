# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""tensorrt_llm 1.2.1; see ../../README.md."""

from tensorrt_llm.llmapi import LLM
from tensorrt_llm.sampling_params import SamplingParams

__all__ = ["LLM", "SamplingParams"]
__version__ = "1.2.1"
