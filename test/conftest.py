# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What holds for all tests."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# Where there is no GPU, Triton's kernels are tested by its interpreter, which must be chosen before
# they are defined. The second and third are a Jetson's.
GPUS = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu")
if not any(Path(place).exists() for place in GPUS):
    os.environ.setdefault("TRITON_INTERPRET", "1")

# A shell starts what it runs in the background with SIGINT ignored, and every process started from
# here would inherit that; tests that interrupt one would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """Chromium without a screen, driven by playwright; of a module, as its loop blocks asyncio."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=program, args=options)
        yield started
        started.close()
