# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Questions and answers in service events, as introspection of Query and Ask records them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from test.datasets.export_data import FRONT, REAR, START_NS, TENTH
from vila_ros.bags.recorded_cameras import RecordedCamera, camera_name
from vila_ros.bags.recording import RecordedMessage, Topic
from vila_ros.bags.serialization import serialize
from vila_ros.datasets.logged_samples import (
    GOAL,
    QUERY,
    RESULT,
    _types,
    logged_drafts,
    read_logged,
)
from vila_ros.perception.types import MessageKind

QUERY_TOPIC, ASK = "/vila/query/_service_event", "/vila/ask/_action"
REQUEST_SENT, REQUEST_RECEIVED, RESPONSE_SENT, RESPONSE_RECEIVED = range(4)


class Recorded:
    """A recording of messages in memory."""

    path = Path("memory")

    def __init__(self, messages):
        self._messages = messages
        self.topics = {message.topic: Topic(message.type, 1) for message in messages}

    def messages(self, topics, start_ns, end_ns):
        return (m for m in self._messages if m.topic in topics and start_ns <= m.stamp_ns <= end_ns)


def make(kind: str, **values):
    """A message of our types; fields that are not named are empty."""
    store = _types()
    names = [name for name, _ in store.fielddefs[kind][1]]
    return store.types[kind](*(values.get(name, empty(kind, name)) for name in names))


def empty(kind: str, field: str):
    store = _types()
    (node,) = [node for name, node in store.fielddefs[kind][1] if name == field]
    if node[0] == 1:  # a basic type
        return "" if node[1][0] == "string" else 0
    if node[0] == 2:
        return make(node[1])
    return np.zeros(0, np.float32) if "float" in str(node) else []


def time_of(stamp: int):
    return make("builtin_interfaces/msg/Time", sec=stamp // 10**9, nanosec=stamp % 10**9)


def event(kind: str, number: int, step: int, **content):
    info = make(
        "service_msgs/msg/ServiceEventInfo",
        event_type=step, stamp=time_of(START_NS), sequence_number=number,
        client_gid=np.arange(16, dtype=np.uint8),
    )  # fmt: skip
    lists = {"request": [], "response": [], **{name: [value] for name, value in content.items()}}
    return _types().types[kind](info, lists["request"], lists["response"])


def answer(kind: str, text: str, stamp: int, error: int = 0):
    frame = make("vila_ros/msg/FrameRef", camera="front", stamp=time_of(stamp))
    stats = make("vila_ros/msg/InferenceStats", model="tiny")
    return make(kind, text=text, frames=[frame], stats=stats, error_code=error)


def recorded(topic: str, kind: str, after: int, message) -> RecordedMessage:
    return RecordedMessage(topic, kind, START_NS + after, serialize(message, kind, _types()))


def query(number: int, prompt: str, text: str, after: int, error: int = 0):
    """The four events of a service call: client and server log theirs on one topic."""
    asked = make("vila_ros/msg/Query_Request", prompt=prompt, system_prompt="Be brief.")
    given = answer("vila_ros/msg/Query_Response", text, START_NS + after, error)
    steps = [
        (REQUEST_SENT, {"request": asked}), (REQUEST_RECEIVED, {"request": asked}),
        (RESPONSE_SENT, {"response": given}), (RESPONSE_RECEIVED, {"response": given}),
    ]  # fmt: skip
    return [
        recorded(QUERY_TOPIC, QUERY, after + step, event(QUERY, number, step, **content))
        for step, content in steps
    ]


def test_a_service_call_is_one_answer_however_many_sides_logged_it():
    found = read_logged(Recorded(query(1, "What?", "A road.", 0)), START_NS, START_NS + TENTH)
    (only,) = found.answers
    assert (only.prompt, only.text, only.system, only.model) == (
        "What?", "A road.", "Be brief.", "tiny",
    )  # fmt: skip
    assert only.frames == (("front", START_NS),)
    assert only.problem == ""


def test_an_actions_result_is_matched_to_its_goal():
    goal_id = make("unique_identifier_msgs/msg/UUID", uuid=np.arange(16, dtype=np.uint8))
    goal = make("vila_ros/msg/Ask_Goal", prompt="What now?")
    send = make("vila_ros/msg/Ask_SendGoal_Request", goal_id=goal_id, goal=goal)
    want = make("vila_ros/msg/Ask_GetResult_Request", goal_id=goal_id)
    result = answer("vila_ros/msg/Ask_Result", "Stop.", START_NS)
    got = make("vila_ros/msg/Ask_GetResult_Response", status=4, result=result)
    results = f"{ASK}/get_result/_service_event"
    messages = [
        recorded(f"{ASK}/send_goal/_service_event", GOAL, 0,
                 event(GOAL, 1, REQUEST_RECEIVED, request=send)),
        recorded(results, RESULT, 1, event(RESULT, 9, REQUEST_RECEIVED, request=want)),
        recorded(results, RESULT, 2, event(RESULT, 9, RESPONSE_SENT, response=got)),
    ]  # fmt: skip
    (only,) = read_logged(Recorded(messages), START_NS, START_NS + TENTH).answers
    assert (only.prompt, only.text, only.problem) == ("What now?", "Stop.", "")


@pytest.mark.parametrize(
    ("text", "error", "problem"),
    [
        ("", 0, "logged answer without text"),
        ("Half", 202, "logged question that failed"),
        ("<image>", 0, "<image> in a logged text"),
    ],
)
def test_answers_that_teach_nothing_are_told(text, error, problem):
    messages = query(1, "What?", text, 0, error)
    (only,) = read_logged(Recorded(messages), START_NS, START_NS + TENTH).answers
    assert only.problem == problem


def test_an_answer_belongs_to_the_stretch_in_which_it_came():
    messages = query(1, "What?", "One.", 0) + query(2, "What?", "Two.", TENTH)
    second = read_logged(Recorded(messages), START_NS + TENTH, START_NS + 2 * TENTH)
    assert [each.text for each in second.answers] == ["Two."]


def test_a_response_without_its_question_and_bytes_that_are_no_message_are_counted():
    lost = query(1, "What?", "A road.", 0)[2:]
    broken = RecordedMessage(QUERY_TOPIC, QUERY, START_NS + 5, b"\x00\x01\x00\x00\x07")
    found = read_logged(Recorded([*lost, broken]), START_NS, START_NS + TENTH)
    assert [each.problem for each in found.answers] == ["logged answer without its question"]
    assert found.skipped == 1


@pytest.mark.parametrize(
    ("name", "topics", "found"),
    [
        ("front", (FRONT, REAR), FRONT),
        ("main", (FRONT, REAR), None),
        ("main", (FRONT,), FRONT),  # there is but one
    ],
)
def test_cameras_are_found_by_name_or_by_being_the_only_one(name, topics, found):
    messages = query(1, "What?", "A road.", 0)
    (only,) = read_logged(Recorded(messages), START_NS, START_NS + TENTH).answers
    named = type(only)(only.topic, only.recorded_ns, "a", "b", ((name, START_NS),), "")
    cameras = [RecordedCamera(camera_name(t), t, MessageKind.COMPRESSED_IMAGE) for t in topics]
    (draft,) = logged_drafts("drive", [named], cameras)
    if found is None:
        assert draft == "camera of a logged answer not in the recording"
    else:
        assert draft.picks[0].topic == found
