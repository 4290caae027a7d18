# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Samples of what the robot was asked and answered while it was recorded.

Three kinds of messages hold questions with answers: SceneDescription, the events of the service
Query and those of the action Ask (service introspection, of which an action's goal and result are
two). Each names the frames it was based on by camera and header stamp.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from rosbags.typesys import get_types_from_msg
from rosbags.typesys.store import Typestore

from vila_ros.bags.recorded_cameras import RecordedCamera
from vila_ros.bags.recording import RecordedMessage, Recording
from vila_ros.bags.serialization import deserialize, typestore_with
from vila_ros.bags.vila_messages import SCENE_DESCRIPTION
from vila_ros.datasets.drafts import Draft, media_then
from vila_ros.datasets.logged_types import definitions
from vila_ros.datasets.picking import Pick
from vila_ros.datasets.records import ExportedSample, MediaFile, Turn
from vila_ros.datasets.template import MEDIA_MARK
from vila_ros.errors import InvalidRecording

QUERY = "vila_ros/srv/Query_Event"
GOAL, RESULT = "vila_ros/action/Ask_SendGoal_Event", "vila_ros/action/Ask_GetResult_Event"
TYPES = (SCENE_DESCRIPTION, QUERY, GOAL, RESULT)
_RESPONSES = (2, 3)  # service_msgs/ServiceEventInfo: sent by the server, received by the client
LOOK_BACK_NS = 120_000_000_000
"""How long before its answer a question may have been asked."""


@dataclass(frozen=True, slots=True)
class LoggedAnswer:
    """A question that was answered. recorded_ns: when the answer was. frames: camera and stamp."""

    topic: str
    recorded_ns: int
    prompt: str
    text: str
    frames: tuple[tuple[str, int], ...]
    model: str
    system: str = ""
    problem: str = ""

    @property
    def span_ns(self) -> int:
        """From its first frame to its last."""
        stamps = [stamp for _, stamp in self.frames]
        return max(stamps, default=0) - min(stamps, default=0)


@dataclass(slots=True)
class LoggedAnswers:
    """The answers of a stretch of a recording; skipped: messages that cannot be read."""

    answers: list[LoggedAnswer] = field(default_factory=list)
    skipped: int = 0


def logged_topics(recording: Recording) -> frozenset[str]:
    """The topics that hold questions and answers."""
    return frozenset(name for name, topic in recording.topics.items() if topic.type in TYPES)


def read_logged(recording: Recording, start_ns: int, end_ns: int) -> LoggedAnswers:
    """What was answered in start_ns <= recorded < end_ns, in that order."""
    found = LoggedAnswers()
    topics = logged_topics(recording)
    if not topics:
        return found
    asked: dict[tuple[str, bytes], Any] = {}
    seen: set[tuple[str, bytes]] = set()
    for message in recording.messages(topics, start_ns - LOOK_BACK_NS, end_ns - 1):
        try:
            content = deserialize(message, _types())
        except InvalidRecording:
            found.skipped += 1
            continue
        for answer in _answers(message, content, asked, seen):
            if message.stamp_ns >= start_ns:
                found.answers.append(answer)
    return found


def logged_drafts(
    recording: str, answers: Sequence[LoggedAnswer], cameras: Sequence[RecordedCamera]
) -> Iterator[Draft | str]:
    """A draft for each answer; text says why there is none."""
    for number, answer in enumerate(answers):
        if answer.problem:
            yield answer.problem
            continue
        picks: list[Pick] = []
        for name, stamp in answer.frames:
            camera = _camera(name, cameras)
            if camera is None:
                picks.clear()
                break
            picks.append(Pick(camera.topic, stamp_ns=stamp))
        if not picks:
            yield (
                "camera of a logged answer not in the recording"
                if answer.frames
                else ("logged answer without frames")
            )
            continue
        rule = answer.topic.strip("/").split("/_")[0].replace("/", "_")
        yield Draft((answer.recorded_ns, -2, number), rule, tuple(picks), _finisher(
            recording, rule, answer
        ))  # fmt: skip


def _finisher(recording: str, rule: str, answer: LoggedAnswer) -> Any:
    def finish(sample_id: str, media: tuple[MediaFile, ...]) -> ExportedSample | str:
        turns = [Turn("system", (answer.system,))] if answer.system else []
        turns += [
            Turn("user", media_then(len(media), answer.prompt)),
            Turn("assistant", (answer.text,)),
        ]
        provenance = {"topic": answer.topic, "answered_ns": answer.recorded_ns}
        if answer.model:
            provenance["model"] = answer.model
        return ExportedSample(
            sample_id, "", "logged", rule, recording, tuple(turns), media, provenance=provenance
        )

    return finish


def _camera(name: str, cameras: Sequence[RecordedCamera]) -> RecordedCamera | None:
    """The camera of a name: so named, or with the name in its topic, or the only one."""
    by_name = [camera for camera in cameras if camera.name == name]
    by_topic = [camera for camera in cameras if name in camera.topic.split("/")]
    found = by_name or by_topic or list(cameras)
    return found[0] if len(found) == 1 else None


def _answers(
    message: RecordedMessage,
    content: Any,
    asked: dict[tuple[str, bytes], Any],
    seen: set[tuple[str, bytes]],
) -> Iterator[LoggedAnswer]:
    """The answers that a message completes; client and server may both have logged the events."""
    if message.type == SCENE_DESCRIPTION:
        yield _answer(message, content.prompt, content, "")
        return
    event = content.info.event_type
    number = bytes(content.info.client_gid) + content.info.sequence_number.to_bytes(8, "big")
    for request in content.request:
        if message.type == RESULT:
            asked[message.topic, number] = asked.get((GOAL, bytes(request.goal_id.uuid)))
        elif message.type == GOAL:
            asked[GOAL, bytes(request.goal_id.uuid)] = request.goal
        else:
            asked[message.topic, number] = request
    if event not in _RESPONSES or message.type == GOAL or (message.topic, number) in seen:
        return
    request = asked.pop((message.topic, number), None)
    for response in content.response:
        seen.add((message.topic, number))
        result = response.result if message.type == RESULT else response
        if request is None:
            yield _answer(message, "", result, "logged answer without its question")
        else:
            extras = len(request.images) + len(request.examples)
            problem = "logged question with attached pictures" if extras else ""
            yield _answer(message, request.prompt, result, problem, request.system_prompt)


def _answer(
    message: RecordedMessage, prompt: str, result: Any, problem: str, system: str = ""
) -> LoggedAnswer:
    text = result.text.strip()
    if getattr(result, "error_code", 0):
        problem = problem or "logged question that failed"
    if not text:
        problem = problem or "logged answer without text"
    if MEDIA_MARK in prompt + text + system:
        problem = problem or f"{MEDIA_MARK} in a logged text"
    frames = tuple(
        (frame.camera, frame.stamp.sec * 1_000_000_000 + frame.stamp.nanosec)
        for frame in result.frames
    )
    model = result.stats.model
    return LoggedAnswer(
        message.topic, message.stamp_ns, prompt.strip(), text, frames, model, system, problem
    )


@cache
def _types() -> Typestore:
    store = typestore_with({})
    # rosbags takes every definition for a message's; events keep the names that recordings have.
    types: dict[str, Any] = {
        full: next(iter(get_types_from_msg(text, full).values()))
        for full, text in definitions().items()
    }
    store.register(types)
    return store
