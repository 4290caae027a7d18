# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Carries a plan out: the robot's Perceiver over a slice of a recording."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterator, Sequence
from typing import Any

from vila_ros.bags.recorded_cameras import RecordedCamera, listed, watched_cameras
from vila_ros.bags.recording import open_recording
from vila_ros.bags.replay import Asked, Asking, Replay, ask_along
from vila_ros.bags.types import Recording
from vila_ros.errors import UnknownCamera
from vila_ros.evaluation.plan import AskPlan, PlannedQuestion
from vila_ros.evaluation.truth import TruthReader
from vila_ros.fleet.engines import process_engine, settle
from vila_ros.perception.perceiver import Perceiver
from vila_ros.perception.questions import PerceiverDefaults

_DEADLINE = 3600.0  # seconds; a replay waits for slow machines


class Asker:
    """A plan that is carried out; a context manager. recording, replay, engine: what it uses.

    Raises InvalidRecording, UnknownCamera, InvalidRequest (topics that are not there, paths that
    lead nowhere), and what loading the engine raises.
    """

    def __init__(self, plan: AskPlan) -> None:
        self.plan = plan
        self.recording = open_recording(plan.path, frame_rate=plan.frame_rate)
        cameras = chosen_cameras(self.recording, plan.questions)
        defaults = PerceiverDefaults(deadline=_DEADLINE)
        self._asked = {each.id: each for each in plan.questions}
        self._questions = {each.id: each.question(plan.seed) for each in plan.questions}
        seconds = max(
            (each.window or defaults.window for each in self._questions.values()), default=1.0
        )
        self.replay = Replay(self.recording, cameras, seconds)
        self._truths = {
            (question.id, name): TruthReader(self.recording, truth, plan)
            for question in plan.questions
            for name, truth in (question.truths or {}).items()
        }
        self.engine = process_engine(plan.engine)
        settle(self.engine)
        self._perceiver = Perceiver(self.replay.buffers, self.engine, defaults)

    def answers(self) -> Iterator[tuple[PlannedQuestion, Asked]]:
        """All questions of the slice in time order, those of one moment in the plan's order."""
        with contextlib.closing(
            ask_along(self.replay, self._perceiver, self._askings())  # type: ignore[type-var]
        ) as asked_ones:
            for asked in asked_ones:
                if asked.asking.stamp_ns >= self.plan.start_ns:
                    yield self._asked[asked.asking.name], asked

    def truths(self, question: PlannedQuestion, stamp_ns: int) -> dict[str, Any]:
        """What the question's topics say at a moment; those that say nothing are left out."""
        found = {}
        for name in question.truths or {}:
            known, value = self._truths[question.id, name].at(stamp_ns)
            if known:
                found[name] = value
        return found

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *_: object) -> None:
        self._perceiver.close()

    def _askings(self) -> Iterator[Asking]:
        plan = self.plan
        streams = []
        for order, question in enumerate(plan.questions):
            stamps = question.schedule.stamps(plan.origin_ns, plan.last_ns)
            streams.append(self._slice(order, question, stamps))
        for stamp, order in heapq.merge(*streams):
            question = plan.questions[order]
            silent = stamp < plan.start_ns
            asked = self._questions[question.id]
            yield Asking(question.id, stamp, asked, question.only_new, silent)

    def _slice(
        self, order: int, question: PlannedQuestion, stamps: Iterator[int]
    ) -> Iterator[tuple[int, int]]:
        """The moments of the slice, and the one before it where that matters."""
        before: int | None = None
        for stamp in stamps:
            if stamp > self.plan.end_ns:
                return
            if stamp < self.plan.start_ns:
                before = stamp
                continue
            if before is not None and question.only_new:
                yield before, order
            before = None
            yield stamp, order


def chosen_cameras(
    recording: Recording, questions: Sequence[PlannedQuestion]
) -> list[RecordedCamera]:
    """The cameras that questions look at; all where one names none.

    Raises UnknownCamera, or InvalidRequest for a recording without cameras.
    """
    there = watched_cameras(recording)
    names = [camera.name for camera in there]
    wanted: set[str] = set()
    for question in questions:
        if question.fields.get("sampling") == "none":
            continue
        cameras = question.fields.get("cameras") or names
        for name in cameras:
            if name not in names:
                raise UnknownCamera(
                    f"'{recording.path}' has no camera {name!r}; it has {listed(there)}."
                )
        wanted.update(cameras)
    return [camera for camera in there if camera.name in wanted] or list(there[:1])
