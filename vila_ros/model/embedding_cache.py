# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Vision embeddings of recent images, so that a sliding window encodes only its new frame."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
import torch

from vila_ros.engine.interface import ImagePart, VideoPart

DIGEST_BYTES = 16


def media_digest(part: ImagePart | VideoPart, *, tiled: bool = False) -> bytes:
    """Names a medium's content in 16 bytes: of its key, else of its shape and pixels.

    Images, tiled images and videos never share a name, as their embeddings differ.
    """
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    kind = "video" if isinstance(part, VideoPart) else "tiles" if tiled else "image"
    digest.update(kind.encode())
    if part.key is not None:
        digest.update(b"key" + part.key.encode())
        return digest.digest()
    frames = part.frames if isinstance(part, VideoPart) else (part.pixels,)
    for pixels in frames:
        digest.update(f"{pixels.shape}{pixels.dtype}".encode())
        digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


class EmbeddingCache:
    """The most recently used embeddings, at most `limit_bytes` of them; one thread uses it."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._entries: OrderedDict[bytes, torch.Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, digest: bytes) -> torch.Tensor | None:
        """The embedding [tokens, hidden] of a medium, or None."""
        embedding = self._entries.get(digest)
        if embedding is not None:
            self._entries.move_to_end(digest)
        return embedding

    def put(self, digest: bytes, embedding: torch.Tensor) -> None:
        """Keep an embedding and drop the longest unused ones beyond the limit.

        One that alone exceeds the limit is not kept. A row of a larger tensor is copied, else it
        would keep all of that alive.
        """
        if embedding.untyped_storage().nbytes() > embedding.nbytes:
            embedding = embedding.clone()
        if embedding.nbytes > self.limit_bytes or digest in self._entries:
            return
        self._entries[digest] = embedding
        self.held_bytes += embedding.nbytes
        while self.held_bytes > self.limit_bytes:
            _, dropped = self._entries.popitem(last=False)
            self.held_bytes -= dropped.nbytes

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
        self.held_bytes = 0
