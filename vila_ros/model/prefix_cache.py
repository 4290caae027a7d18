# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which slot holds which sequence, and which of its rows a new prompt can take over.

A finished answer leaves its keys and values in its slot. A new prompt that begins like it (system
prompt, examples, frames of the same window) starts after the rows they share.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vila_ros.model.kv_cache import SlotCache
from vila_ros.model.prompt import RowNames, text_names


@dataclass
class Resident:
    """A slot: the names of the rows whose keys and values it holds, and who uses it."""

    names: RowNames = field(default_factory=lambda: text_names(()))
    busy: bool = False
    used: int = 0


@dataclass(frozen=True)
class Place:
    """Where a prompt goes: its slot, and how many of its first rows are there already."""

    slot: int
    reused: int


def common_prefix(first: RowNames, second: RowNames) -> int:
    """Rows at the beginning that are equal."""
    shorter = min(len(first), len(second))
    different = np.flatnonzero((first[:shorter] != second[:shorter]).any(axis=1))
    return int(different[0]) if len(different) else shorter


class SlotTable:
    """Hands out the slots of a SlotCache; one thread uses it."""

    def __init__(self, cache: SlotCache) -> None:
        self._cache = cache
        self._residents = [Resident() for _ in range(cache.slots)]
        self._clock = 0

    @property
    def free(self) -> int:
        """Slots that no request uses."""
        return sum(not resident.busy for resident in self._residents)

    def take(self, prompt: RowNames) -> Place:
        """A free slot for a prompt, with the longest prefix that any slot holds of it.

        The slot that holds the prefix is used itself when it is free and mostly shared; else the
        rows are copied to the longest unused slot, so that what others may ask for again survives.
        At least the prompt's last row is left to compute, as its logits begin the answer.
        """
        shared = [
            min(common_prefix(resident.names, prompt), len(prompt) - 1)
            for resident in self._residents
        ]
        free = [slot for slot, resident in enumerate(self._residents) if not resident.busy]
        source = max(range(len(shared)), key=lambda slot: (shared[slot], slot in free))
        target = min(free, key=lambda slot: (self._residents[slot].used, slot))
        if source in free and (
            2 * shared[source] >= len(self._residents[source].names) or len(free) == 1
        ):
            target = source
        reused = shared[source]
        if target != source and reused:
            # From here on the target's old rows are gone, whatever happens to the copy.
            self._residents[target].names = text_names(())
            self._cache.copy_rows(source, target, reused)
        self._residents[target] = Resident(prompt[:reused], busy=True)
        return Place(target, reused)

    def computed(self, slot: int, names: RowNames) -> None:
        """Note the rows whose keys and values a busy slot now holds."""
        self._residents[slot].names = names

    def release(self, slot: int) -> None:
        """Free a slot; its rows stay for later prompts."""
        self._clock += 1
        self._residents[slot].busy = False
        self._residents[slot].used = self._clock

    def forget(self) -> None:
        """Drop all rows of free slots."""
        for resident in self._residents:
            if not resident.busy:
                resident.names = text_names(())
