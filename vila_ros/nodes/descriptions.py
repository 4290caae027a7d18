# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The topic ~/scene_description: a question that the node asks itself, in the background.

It runs only while no other question waits, and gives way when one comes. Nothing is published
without frames, or when no frame has come since the last description; why is on /diagnostics.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from rclpy.lifecycle import LifecycleNode
from rclpy.timer import Timer

from vila_ros.errors import Cancelled
from vila_ros.msg import SceneDescription
from vila_ros.nodes.conversions import scene_description
from vila_ros.nodes.settings import Settings
from vila_ros.perception.buffer import FrameBuffer
from vila_ros.perception.perceiver import Perceiver, Ticket
from vila_ros.perception.types import Answer, Question


@dataclass(frozen=True)
class DescriptionStatus:
    """rate: descriptions a second that are wanted; 0 for none. published, preempted, failed,
    skipped: counts since activation. trouble: why the last attempt published nothing; empty if it
    did."""

    rate: float
    published: int
    preempted: int
    failed: int
    skipped: int
    trouble: str


class Descriptions:
    """Asks periodically from activate() to deactivate(), as the parameters description.* say."""

    def __init__(self, node: LifecycleNode, settings: Settings) -> None:
        self._node = node
        self._settings = settings
        self._publisher = node.create_lifecycle_publisher(
            SceneDescription, "~/scene_description", 10
        )
        self._perceiver: Perceiver | None = None
        self._buffers: Mapping[str, FrameBuffer] = {}
        self._timer: Timer | None = None
        self._ticket: Ticket | None = None
        self._described_ns: dict[str, int] = {}
        self._lock = threading.Lock()
        self._asking = False
        self._counts = dict.fromkeys(("published", "preempted", "failed", "skipped"), 0)
        self._trouble = ""

    def activate(self, perceiver: Perceiver, buffers: Mapping[str, FrameBuffer]) -> None:
        """Begin to describe what is in the buffers."""
        self._perceiver, self._buffers = perceiver, buffers
        self._described_ns = {}
        with self._lock:
            self._counts = dict.fromkeys(self._counts, 0)
            self._trouble = ""
        self._start_timer()

    def deactivate(self) -> None:
        """Ask no more, and give up the question on its way."""
        self._perceiver = None
        self._stop_timer()
        if self._ticket is not None:
            self._ticket.cancel()
            self._ticket = None

    def set_settings(self, settings: Settings) -> None:
        """Put other settings in force, for the next description."""
        changed = settings.description_rate != self._settings.description_rate
        self._settings = settings
        if changed and self._perceiver is not None:
            self._start_timer()

    def forget(self) -> None:
        """Time jumped: older stamps are news again."""
        self._described_ns = {}

    def status(self) -> DescriptionStatus:
        """Counts, and why there is no description."""
        with self._lock:
            return DescriptionStatus(
                rate=self._settings.description_rate, trouble=self._trouble, **self._counts
            )

    def _start_timer(self) -> None:
        self._stop_timer()
        if self._settings.description_rate > 0:
            # The node's clock: with simulated time, a description for each simulated period.
            self._timer = self._node.create_timer(1 / self._settings.description_rate, self._ask)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None

    def _ask(self) -> None:
        if self._perceiver is None:
            return
        with self._lock:
            if self._asking:
                self._counts["skipped"] += 1
                self._trouble = self._trouble or "the last description still runs"
                return
        settings = self._settings
        cameras = tuple(name for name in settings.description_cameras if name)
        newest = self._newest_stamps(cameras)
        if not newest or newest == self._described_ns:
            missing = "no new frame" if newest else "no frame"
            self._note("skipped", f"{missing} from {', '.join(cameras) or 'any camera'}")
            return
        question = Question(
            prompt=settings.description_prompt,
            cameras=cameras,
            window=settings.description_window,
            max_frames=settings.description_max_frames,
            json_schema=settings.description_json_schema,
            max_tokens=settings.description_max_tokens,
            deadline=settings.description_deadline,
        )
        with self._lock:
            self._asking = True

        def done(answer: Answer) -> None:
            self._publish(answer, question.prompt, newest)

        self._ticket = self._perceiver.submit(question, on_done=done, background=True)

    def _newest_stamps(self, cameras: tuple[str, ...]) -> dict[str, int]:
        stamps = {}
        for name, buffer in self._buffers.items():
            frame = buffer.newest() if not cameras or name in cameras else None
            if frame is not None:
                stamps[name] = frame.stamp_ns
        return stamps

    def _publish(self, answer: Answer, prompt: str, newest: dict[str, int]) -> None:
        """Called in the Perceiver's thread; publishing is thread-safe, and gated while inactive."""
        with self._lock:
            self._asking = False
        if answer.error is None:
            self._described_ns = newest
            self._publisher.publish(scene_description(answer, prompt))
            self._note("published", "")
        elif isinstance(answer.error, Cancelled):
            self._note("preempted", "a question came first")
        else:
            self._note("failed", f"{answer.error.code.name}: {answer.error.message}")

    def _note(self, outcome: str, trouble: str) -> None:
        with self._lock:
            self._counts[outcome] += 1
            self._trouble = trouble
