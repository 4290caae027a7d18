# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What replaying a recording costs besides the engine.

A simulated drive is replayed with an engine that takes as long an answer as one told it to, and the
wall time is held against the engine's own. The engine's time is given by its own clock, so that a
busy machine slows both alike. Side by side: one frame a question and eight, JPEG as recorded, with
and without the evaluation's own work (truth of a topic, thumbnails, rows on disk).

    python benchmarks/replay.py [--answer 0.25] [--seconds 20]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from vila_ros.bags.recording import open_recording
from vila_ros.bags.synthetic_drive import write_drive
from vila_ros.engine.interface import (
    Capabilities,
    EngineSpec,
    FinishReason,
    GenerationRequest,
    GenerationStats,
    TextChunk,
)
from vila_ros.evaluation.ask_task import ask_task
from vila_ros.evaluation.asker import Asker
from vila_ros.evaluation.plan import AskPlan, PlannedQuestion, Schedule, TopicValue
from vila_ros.fleet.engines import close_engines

TARGET = 0.05


class SleepingEngine:
    """Takes `seconds` for an answer, and counts what it took."""

    busy = 0.0

    def __init__(self, model: str, *, seconds: float) -> None:
        self.seconds = seconds
        self.capabilities: Capabilities | None = None

    def load(self) -> Capabilities:
        """Nothing to load."""
        self.capabilities = Capabilities("sleep", "sleep", "cpu", "none", 64, 196, 8192)
        return self.capabilities

    def generate(self, request: GenerationRequest) -> Iterator[TextChunk]:
        """One chunk after the time is over."""
        started = time.monotonic()
        time.sleep(self.seconds)
        SleepingEngine.busy += time.monotonic() - started
        yield TextChunk("yes", 1, finish_reason=FinishReason.STOP, stats=GenerationStats())

    def cancel(self, request_id: str) -> None:
        """Nothing to cancel."""

    def close(self) -> None:
        """Nothing to close."""


def measure(path: Path, answer: float, frames: int, folder: Path | None) -> tuple[float, float]:
    """Wall time by the engine's time, less one; and processor time by the engine's time."""
    recording = open_recording(path)
    truths = {"truth": TopicValue("/ground_truth", "data.objects[kind=person] | count")}
    question = PlannedQuestion(
        "q",
        Schedule(every=0.5),
        {"prompt": "What?", "window": 2.0, "max_frames": frames},
        truths=truths if folder else None,
    )
    plan = AskPlan(
        recording=str(path),
        engine=EngineSpec("__main__:SleepingEngine", "sleep", {"seconds": answer}),
        questions=(question,),
        start_ns=recording.start_ns,
        end_ns=recording.end_ns,
        origin_ns=recording.start_ns,
        last_ns=recording.end_ns,
        thumbnails=1000 if folder else 0,
    )
    close_engines()
    SleepingEngine.busy = 0.0
    started, worked = time.monotonic(), time.process_time()
    if folder is None:
        with Asker(plan) as asker:
            for _ in asker.answers():
                pass
    else:
        ask_task(plan.task("task"), folder)
    wall, work = time.monotonic() - started, time.process_time() - worked
    return wall / SleepingEngine.busy - 1, work / SleepingEngine.busy


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answer", type=float, default=0.25, help="seconds an answer takes")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the drive")
    arguments = parser.parse_args()
    figures: dict[str, float] = {"answer_s": arguments.answer, "recorded_s": arguments.seconds}
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "drive"
        write_drive(path, seconds=arguments.seconds)
        measure(path, 0.001, 1, None)  # imports and caches
        for frames in (1, 8):
            for name, evaluating in (("replay", False), ("evaluate", True)):
                folder = Path(temporary) / f"{name}-{frames}"
                folder.mkdir()
                with contextlib.redirect_stderr(sys.stdout):
                    where = folder if evaluating else None
                    share, work = measure(path, arguments.answer, frames, where)
                figures[f"{name}_{frames}_frames"] = round(share, 4)
                figures[f"{name}_{frames}_processor"] = round(work, 4)
                print(
                    f"{name}, {frames} frames a question: {share:.1%} besides the engine "
                    f"(processor time {work:.1%})"
                )
    worst = max(value for name, value in figures.items() if name.endswith("frames"))
    ok = worst <= TARGET
    summary = {"name": "replay", "figures": figures, "target": f"<= {TARGET}", "ok": ok}
    print(json.dumps(summary))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
