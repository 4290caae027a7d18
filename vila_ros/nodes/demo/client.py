# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The demonstration as a client of the node: action, service, descriptions and diagnostics.

ROS callbacks run in a thread of their own and put what comes into one queue, which the
demonstration reads and prints from; nothing is printed in between.
"""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeAlias

import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.action import ActionClient
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from vila_ros.action import Ask
from vila_ros.errors import EngineDown
from vila_ros.msg import SceneDescription
from vila_ros.nodes.demo.questions import DemoQuestion
from vila_ros.srv import Query

_NODE = "/vila"


@dataclass(frozen=True)
class Part:
    """One line of /diagnostics."""

    name: str
    level: int
    message: str
    values: dict[str, str]


@dataclass(frozen=True)
class Feedback:
    """The answer so far."""

    text: str
    stage: int


@dataclass(frozen=True)
class Outcome:
    """The end of a question; result is an Ask.Result or a Query.Response."""

    result: Any


Event: TypeAlias = SceneDescription | Feedback | Outcome


class Client:
    """Talks to the node; a context manager. events: what arrived, in its order."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.parts: dict[str, Part] = {}
        self._goal: Any = None
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("vila_demo", enable_rosout=False)
        self._ask = ActionClient(self._node, Ask, f"{_NODE}/ask")
        self._query = self._node.create_client(Query, f"{_NODE}/query")
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnose, 10)
        self._node.create_subscription(
            SceneDescription, f"{_NODE}/scene_description", self.events.put, 10
        )
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="ros", daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):  # raised when the demonstration has ended
            self._executor.spin()

    def _diagnose(self, message: DiagnosticArray) -> None:
        parts = {}
        for status in message.status:
            name = status.name.partition(": ")[2]
            values = {pair.key: pair.value for pair in status.values}
            parts[name] = Part(name, _number(status.level), status.message, values)
        self.parts = parts

    @property
    def servers_ready(self) -> bool:
        """Whether the node's action and service have been discovered."""
        return bool(self._ask.server_is_ready() and self._query.service_is_ready())

    def part(self, name: str) -> Part:
        """A line of the newest diagnostics; an empty one before it arrives."""
        return self.parts.get(name, Part(name, _number(DiagnosticStatus.STALE), "", {}))

    def ask(self, question: DemoQuestion, deadline: float) -> None:
        """Put a question; Feedback and its Outcome become events."""
        if question.streamed:
            goal = _fill(Ask.Goal(), question, deadline)
            sent = self._ask.send_goal_async(goal, feedback_callback=self._take_feedback)
            sent.add_done_callback(self._goal_accepted)
        else:
            called = self._query.call_async(_fill(Query.Request(), question, deadline))
            called.add_done_callback(lambda done: self.events.put(Outcome(done.result())))

    def _take_feedback(self, message: Any) -> None:
        self.events.put(Feedback(message.feedback.text, message.feedback.stage))

    def _goal_accepted(self, sent: Any) -> None:
        self._goal = sent.result()
        self._goal.get_result_async().add_done_callback(
            lambda done: self.events.put(Outcome(done.result().result))
        )

    def next_event(self, seconds: float) -> Event | None:
        """The next event, or None if there is none in that time."""
        try:
            return self.events.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._executor.shutdown(timeout_sec=2)
        self._ask.destroy()
        self._node.destroy_node()
        rclpy.try_shutdown()
        self._thread.join(timeout=2)


def engine_failure(part: Part) -> EngineDown | None:
    """The error to end with when the engine cannot work, as /diagnostics reports it."""
    if part.values.get("state") == "FAILED":
        return EngineDown(f"The engine does not work: {part.message}")
    return None


def _fill(request: Any, question: DemoQuestion, deadline: float) -> Any:
    request.prompt = question.prompt
    request.cameras = list(question.cameras)
    if question.end_ns:
        request.start, request.end = _time(question.start_ns), _time(question.end_ns)
    else:
        request.window = question.window
    request.max_frames = question.max_frames
    request.sampling = int(question.sampling)
    request.choices = list(question.choices)
    request.json_schema = question.json_schema
    request.max_tokens = question.max_tokens
    request.deadline = deadline
    return request


def _time(stamp_ns: int) -> Time:
    return Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)


def _number(level: Any) -> int:
    """A DiagnosticStatus level, which rclpy gives as one byte."""
    return int.from_bytes(level, "little") if isinstance(level, bytes) else int(level)
