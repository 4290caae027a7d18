# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An engine that answers with facts about the process it runs in, as JSON.

Copied into another interpreter's environment, where nothing else of the tests is.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path

from vila_ros.engine.interface import Capabilities, FinishReason, TextChunk


class ProbeEngine:
    def __init__(self, model):
        self.capabilities = Capabilities(model, "probe", "cpu", "none", 1, 1, 100)

    def load(self):
        return self.capabilities

    def generate(self, request):
        facts = {
            "executable": sys.executable,
            "package": importlib.util.find_spec("vila_ros").origin,
            "path": sys.path,
            "found": [n for n in ("numpy", "torch", "rclpy", "test.doubles", "cv2") if find(n)],
            "loaded": sorted({name.partition(".")[0] for name in sys.modules}),
            "environment": dict(os.environ),
            "oom_score_adj": int(Path("/proc/self/oom_score_adj").read_text()),
            "session": os.getsid(0) == os.getpid(),
        }
        yield TextChunk(json.dumps(facts), 1)
        yield TextChunk("", 1, finish_reason=FinishReason.STOP)

    def cancel(self, request_id):
        pass

    def close(self):
        pass

    def device_memory_bytes(self):
        return 12345


def find(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False
