# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One task: ask a plan's questions along its slice of a recording.

Into the task's folder: answers.jsonl, a line a question and moment, the same bytes each time;
timings.jsonl, line by line what each took; frames/, small pictures of the newest frame seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vila_ros.bags.replay import Asked
from vila_ros.evaluation.asker import Asker
from vila_ros.evaluation.plan import PlannedQuestion, plan_from
from vila_ros.evaluation.thumbnails import Thumbnails
from vila_ros.fleet.types import Task
from vila_ros.perception.types import Answer

WORK = "vila_ros.evaluation.ask_task:ask_task"
ANSWERS, TIMINGS = "answers.jsonl", "timings.jsonl"
PROBABILITY_DIGITS = 4  # further ones depend on what else the processor computed


def ask_task(task: Task, folder: Path) -> dict[str, Any]:
    """The fleet's work; see the module. Returns counts, warnings, and the model's name."""
    plan = plan_from(task.arguments)
    failed = asked_count = 0
    errors: dict[str, int] = {}
    thumbnails = Thumbnails(folder / "frames", plan.thumbnails)
    with (
        Asker(plan) as asker,
        (folder / ANSWERS).open("w", encoding="utf-8") as answers,
        (folder / TIMINGS).open("w", encoding="utf-8") as timings,
    ):
        for question, asked in asker.answers():
            if asked.answer is None:
                continue
            asked_count += 1
            row = answer_row(question, asked, plan.origin_ns)
            row["truth"] = asker.truths(question, asked.asking.stamp_ns)
            row["frame"] = thumbnails.keep(asked.newest)
            if asked.answer.error is not None:
                failed += 1
                message = asked.answer.error.message
                errors[message] = errors.get(message, 0) + 1
            answers.write(json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n")
            timings.write(json.dumps(timing_row(asked.answer)) + "\n")
        warnings = [*asker.recording.warnings, *asker.replay.dropped()]
        capabilities = asker.engine.capabilities
    return {
        "asked": asked_count,
        "failed": failed,
        "errors": errors,
        "warnings": warnings,
        "model": capabilities.model if capabilities else "",
        "runtime": capabilities.runtime if capabilities else "",
    }


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a task's ANSWERS or TIMINGS.

    A line ends with a newline alone; str.splitlines() would cut at U+2028 and its like, which
    answers may hold.
    """
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def answer_row(question: PlannedQuestion, asked: Asked, origin_ns: int) -> dict[str, Any]:
    """An answer as JSON, without what depends on the machine. It has one."""
    answer = asked.answer
    assert answer is not None
    error = answer.error
    return {
        "question": question.id,
        "stamp_ns": asked.asking.stamp_ns,
        "seconds": round((asked.asking.stamp_ns - origin_ns) / 1e9, 3),
        "text": answer.text,
        "json": answer.json,
        "error": None if error is None else {"code": error.code.name, "message": error.message},
        "probabilities": [round(each, PROBABILITY_DIGITS) for each in answer.choice_probabilities],
        "frames": [asdict(frame) for frame in answer.frames],
        "prompt_tokens": answer.stats.prompt_tokens,
        "image_tokens": answer.stats.image_tokens,
        "completion_tokens": answer.stats.completion_tokens,
    }


def timing_row(answer: Answer) -> dict[str, Any]:
    """What an answer took; seconds."""
    return {
        "total": answer.total_time - answer.queue_time,
        "first_token": max(0.0, answer.time_to_first_token - answer.queue_time),
        "decode": answer.decode_time,
        "vision": answer.stats.vision_time,
        "engine": answer.stats.total_time,
        "tokens": answer.stats.completion_tokens,
        "tokens_per_second": answer.stats.tokens_per_second,
    }
