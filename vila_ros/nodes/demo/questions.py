# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is asked, and whether an answer is right about its frames."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vila_ros.errors import ErrorCode
from vila_ros.nodes.demo.material import Material
from vila_ros.perception.types import Sampling

SCENE_SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "vehicles": {"type": "integer", "minimum": 0, "maximum": 99},
            "road": {"enum": ["free", "partly blocked", "blocked"]},
        },
        "required": ["vehicles", "road"],
        "additionalProperties": False,
    }
)


@dataclass(frozen=True)
class DemoQuestion:
    """A question and how it is put.

    streamed: by the action, else by the service. start_ns, end_ns: the window by stamps, instead of
    the last `window` seconds. answer: what is true; empty where nobody knows.
    """

    prompt: str
    streamed: bool = True
    cameras: tuple[str, ...] = ()
    window: float = 3.0
    max_frames: int = 4
    sampling: Sampling = Sampling.UNIFORM
    choices: tuple[str, ...] = ()
    json_schema: str = ""
    max_tokens: int = 48
    expected: ErrorCode = ErrorCode.NONE
    start_ns: int = 0
    end_ns: int = 0
    answer: str = ""

    @property
    def way(self) -> str:
        """By which interface it is put."""
        return "action ~/ask" if self.streamed else "service ~/query"


WRONG_CAMERA = DemoQuestion(
    "What is behind the robot?", cameras=("no_such_camera",), expected=ErrorCode.UNKNOWN_CAMERA
)
DEFAULT_QUESTIONS = (
    DemoQuestion("What is happening on the road ahead?"),
    DemoQuestion(
        "Is a vehicle ahead?",
        streamed=False,
        window=1.0,
        max_frames=1,
        sampling=Sampling.LATEST,
        choices=("yes", "no"),
    ),
    DemoQuestion(
        "How many vehicles are there, and is the road free?", json_schema=SCENE_SCHEMA, max_frames=2
    ),
    WRONG_CAMERA,
)


def faults(question: DemoQuestion, result: Any, material: Material) -> list[str]:
    """What is wrong with an answer (Ask.Result or Query.Response): nothing, if the list is empty.

    Frames must be those of the recording, with their own stamps and frame_ids, within the window
    and the budget that the question gave.
    """
    found = []
    if result.error_code != question.expected:
        code = _code_name(result.error_code)
        found.append(
            f"error code {code} instead of {question.expected.name}: {result.error_message}"
        )
    if question.expected or result.error_code:
        return found
    frames = [(frame.camera, nanoseconds(frame.stamp), frame.frame_id) for frame in result.frames]
    if not 1 <= len(frames) <= question.max_frames:
        found.append(f"{len(frames)} frames, where 1 to {question.max_frames} were asked for")
    for camera, stamp, frame_id in frames:
        known = material.frames.get((camera, stamp))
        if known is None:
            found.append(f"the frame {camera} {stamp} is not in the recording")
        elif known != frame_id:
            found.append(f"the frame {camera} {stamp} has frame_id '{known}', not '{frame_id}'")
    stamps = [stamp for _, stamp, _ in frames]
    if stamps:
        found += _window_faults(question, result, stamps)
    if question.choices and result.text not in question.choices:
        found.append(f"'{result.text}' is none of the choices {question.choices}")
    if question.json_schema:
        try:
            json.loads(result.json)
        except ValueError:
            found.append(f"'{result.json}' is no JSON")
    return found


def _window_faults(question: DemoQuestion, result: Any, stamps: Sequence[int]) -> list[str]:
    found = []
    window = nanoseconds(result.window_start), nanoseconds(result.window_end)
    if window != (min(stamps), max(stamps)):
        found.append(f"the window {window} is not that of the frames")
    if question.end_ns:
        outside = [each for each in stamps if not question.start_ns <= each <= question.end_ns]
        found += [f"the frame of {each} is outside of the window asked for" for each in outside]
    elif max(stamps) - min(stamps) > question.window * 1e9:
        found.append(f"frames over {(max(stamps) - min(stamps)) / 1e9:.2f} s, more than the window")
    return found


def nanoseconds(time: Any) -> int:
    """A builtin_interfaces/Time as nanoseconds."""
    return int(time.sec) * 1_000_000_000 + int(time.nanosec)


def _code_name(code: int) -> str:
    try:
        return ErrorCode(code).name
    except ValueError:
        return str(code)
