# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How the C library keeps the memory of messages that were let go.

By default glibc gives every block of the size of an image back to the kernel when it is freed, and
takes fresh pages for the next one, which the kernel must clear. At camera rate that costs several
times what the reception itself does, and frames are lost meanwhile (benchmarks/ingest.py).
"""

from __future__ import annotations

import ctypes

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

# Blocks up to this size are recycled: an image of 11 megapixels, rgb8. Older versions of glibc
# refuse more than half of a heap (HEAP_MAX_SIZE in malloc/arena.c): this, on 64-bit machines.
RECYCLED_BYTES = 32 * 1024 * 1024
# Freed memory at the end of the heap that is kept for the next messages.
KEPT_BYTES = 256 * 1024 * 1024


def keep_freed_memory() -> bool:
    """Let freed blocks of the size of images be used again; whether the C library does so."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return False
    return bool(
        mallopt(_M_MMAP_THRESHOLD, RECYCLED_BYTES) and mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
    )
