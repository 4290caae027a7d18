# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whether Triton's kernels run here; importing this imports no Triton."""

from __future__ import annotations

import logging
import os
from functools import cache

import torch

log = logging.getLogger(__name__)

OVERRIDE = "VILA_TRITON"
"""Environment variable: "off" for torch's own kernels alone."""


@cache
def usable(device: torch.device) -> bool:
    """Whether they run on a GPU: tried once, as they need Triton and a C compiler at run time."""
    if device.type != "cuda" or os.environ.get(OVERRIDE) == "off":
        return False
    try:
        from vila_ros.quantization.triton_int4 import try_out

        try_out(device)
    # A missing module, a missing compiler, a GPU too old: whatever it is, torch's kernels remain.
    except Exception as error:
        log.warning(
            "Triton's kernels do not run on %s (%s: %s); torch's are used instead, which answer "
            "more slowly. Triton and a C compiler would mend that",
            device, type(error).__name__, error,
        )  # fmt: skip
        return False
    return True
