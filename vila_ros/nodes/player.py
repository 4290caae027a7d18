# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Publish a recording's messages at their pace, as they were serialized.

Messages are not decoded: rclpy publishes bytes as they are, so that headers keep their stamps and
playing costs little. Publishers are reliable, which both kinds of subscribers match.
"""

from __future__ import annotations

import importlib
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rclpy.duration import Duration
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from vila_ros.bags.recording import RecordedMessage, Recording, Topic
from vila_ros.errors import InvalidRequest

_DEPTH = 10
_LATCHED_DEPTH = 100
_STATUS_PERIOD = 0.1
_SHORTEST_ROUND = 0.1  # seconds of a loop's round: a frame's period, for a recording of one frame
_SETTLE = 0.3  # seconds between the first subscriber and others that were found with it
_LINGER = 0.3  # seconds in which best-effort subscribers take what was published last
_TYPE_NAME = re.compile(r"([a-z][a-z0-9_]*)/msg/([A-Z][A-Za-z0-9]*)")


@dataclass(frozen=True)
class PlayOptions:
    """How to play.

    rate: recorded seconds a second; 0 publishes as fast as possible. start, duration: seconds into
    the recording, and of it (0: to its end). clock: messages on /clock a second, 0 for none.
    topics: those to play, empty for all. rename: topic -> name to publish under. wait: seconds to
    wait for a first subscriber.
    """

    rate: float = 1.0
    loop: bool = False
    start: float = 0.0
    duration: float = 0.0
    clock: float = 0.0
    topics: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("rate", self.rate, 0.0, 1000.0),
            ("start", self.start, 0.0, 1e9),
            ("duration", self.duration, 0.0, 1e9),
            ("clock", self.clock, 0.0, 1000.0),
            ("wait", self.wait, 0.0, 86_400.0),
        ):
            if not low <= value <= high:
                raise InvalidRequest(f"{name} is {value}; it must be from {low:g} to {high:g}.")


@dataclass(frozen=True)
class Status:
    """Where playing is. position: recorded seconds since the start of what is played, of length."""

    position: float
    length: float
    messages: int
    round: int


class Player:
    """Plays one recording through a node's publishers.

    skipped: topic -> why it is not played. Raises InvalidRequest for topics that are not there or
    no valid names, and where nothing is left to play.
    """

    def __init__(self, node: Node, recording: Recording, options: PlayOptions) -> None:
        self._recording = recording
        self._options = options
        self.skipped: dict[str, str] = {}
        self._publishers: dict[str, Publisher] = {}
        for name in (*options.topics, *options.rename):
            if name not in recording.topics:
                raise InvalidRequest(
                    f"'{recording.path}' has no topic '{name}'; it has "
                    f"{', '.join(sorted(recording.topics)) or 'none'}."
                )
        for name, topic in sorted(recording.topics.items()):
            if options.topics and name not in options.topics:
                continue
            try:
                message_class = import_message(topic.type)
            except (ImportError, AttributeError, ValueError) as error:
                self.skipped[name] = f"{topic.type} is not installed ({error})"
                continue
            published = options.rename.get(name, name)
            try:
                self._publishers[name] = node.create_publisher(
                    message_class, published, _quality(topic)
                )
            except InvalidTopicNameException as error:
                raise InvalidRequest(f"'{published}' is no topic name: {error}") from error
        if not self._publishers:
            why = "; ".join(f"{name}: {reason}" for name, reason in self.skipped.items())
            raise InvalidRequest(f"'{recording.path}' has nothing to play. {why}".strip())
        self._clock = node.create_publisher(Clock, "/clock", 10) if options.clock else None
        self._next_clock = 0.0
        self.start_ns = recording.start_ns + round(options.start * 1e9)
        self.end_ns = recording.end_ns
        if options.duration:
            self.end_ns = min(self.end_ns, self.start_ns + round(options.duration * 1e9))
        if self.start_ns > recording.end_ns:
            length = (recording.end_ns - recording.start_ns) / 1e9
            raise InvalidRequest(
                f"start is {options.start:g} s, the recording is {length:.3f} s long."
            )

    @property
    def topics(self) -> dict[str, str]:
        """Topics that are played -> the names they are published under."""
        return {name: self._options.rename.get(name, name) for name in self._publishers}

    def wait_for_subscriber(self, stop: threading.Event) -> bool:
        """Wait for a first subscriber as long as the options say; False if none came."""
        until = time.monotonic() + self._options.wait
        while not any(each.get_subscription_count() for each in self._publishers.values()):
            if time.monotonic() >= until or stop.wait(0.05):
                return False
        stop.wait(_SETTLE)
        return True

    def play(
        self, stop: threading.Event, on_status: Callable[[Status], None] = lambda status: None
    ) -> int:
        """Publish until the end, or until `stop` is set; returns the number of messages."""
        messages = rounds = 0
        length_ns = max(self.end_ns - self.start_ns, round(_SHORTEST_ROUND * 1e9))
        while not stop.is_set():
            began, before = time.monotonic(), messages
            messages = self._play_once(began, stop, on_status, messages, rounds)
            rounds += 1
            if not self._options.loop:
                break
            # A round lasts as long as what it plays, also where its last message comes earlier;
            # one without a message has nothing to hurry for, at whatever rate.
            self._pace(self.start_ns + length_ns, began, stop)
            if messages == before:
                stop.wait(_SHORTEST_ROUND)
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=0 if stop.is_set() else 1))
        stop.wait(_LINGER)
        return messages

    def _play_once(
        self,
        began: float,
        stop: threading.Event,
        on_status: Callable[[Status], None],
        messages: int,
        rounds: int,
    ) -> int:
        next_status = began
        for message in self._recording.messages(self._publishers, self.start_ns, self.end_ns):
            if not self._pace(message.stamp_ns, began, stop):
                break
            self._publish(message)
            messages += 1
            now = time.monotonic()
            if now >= next_status:
                next_status = now + _STATUS_PERIOD
                on_status(self._status(message.stamp_ns, messages, rounds))
        else:
            on_status(self._status(self.end_ns, messages, rounds))
        return messages

    def _pace(self, stamp_ns: int, began: float, stop: threading.Event) -> bool:
        """Wait until a message is due, with the clock running; False once playing is stopped."""
        rate = self._options.rate
        due = began + (stamp_ns - self.start_ns) / 1e9 / rate if rate else began
        while (now := time.monotonic()) < due:
            until = due
            if self._clock is not None:
                self._tick(now, stamp_ns - round((due - now) * rate * 1e9))
                until = min(due, self._next_clock)
            if stop.wait(max(0.0, until - now)):
                return False
        if self._clock is not None:
            self._tick(now, stamp_ns)
        return not stop.is_set()

    def _tick(self, now: float, time_ns: int) -> None:
        """Publish the recording's time if a clock message is due."""
        if self._clock is not None and now >= self._next_clock:
            self._next_clock = now + 1 / self._options.clock
            clock = Clock()
            clock.clock.sec, clock.clock.nanosec = divmod(time_ns, 1_000_000_000)
            self._clock.publish(clock)

    def _publish(self, message: RecordedMessage) -> None:
        self._publishers[message.topic].publish(message.data)

    def _status(self, stamp_ns: int, messages: int, rounds: int) -> Status:
        length = (self.end_ns - self.start_ns) / 1e9
        return Status((stamp_ns - self.start_ns) / 1e9, length, messages, rounds)


def import_message(type_name: str) -> Any:
    """The class of "package/msg/Name". Raises ImportError, AttributeError or ValueError."""
    match = _TYPE_NAME.fullmatch(type_name)
    if match is None:
        raise ValueError("its name is no message type")
    return getattr(importlib.import_module(f"{match[1]}.msg"), match[2])


def _quality(topic: Topic) -> QoSProfile:
    durability = DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE
    return QoSProfile(
        depth=_LATCHED_DEPTH if topic.latched else _DEPTH,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=durability,
    )
