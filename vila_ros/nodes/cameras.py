# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node's cameras: serialized images from their topics into their buffers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rclpy.clock import Clock
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.node import Node
from rclpy.qos import (
    HistoryPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from rclpy.validate_full_topic_name import validate_full_topic_name
from sensor_msgs.msg import CompressedImage, Image

from vila_ros.errors import InvalidRequest
from vila_ros.nodes.frame_receiver import FrameReceiver, ReceiverCallbackGroup
from vila_ros.nodes.settings import CameraSettings
from vila_ros.perception.buffer import BufferLimits, BufferStatistics, FrameBuffer
from vila_ros.perception.types import MessageKind

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

MESSAGE_TYPES = {MessageKind.IMAGE: Image, MessageKind.COMPRESSED_IMAGE: CompressedImage}


@dataclass(frozen=True)
class Publisher:
    """A publisher on a camera's topic. fault: why it cannot reach the camera; empty if it can."""

    node: str
    fault: str


@dataclass(frozen=True)
class CameraStatus:
    """One camera at one moment.

    active: whether it is subscribed. silence: seconds since the last message, or since activation
    if there was none. publishers: None where frames arrive and nobody needed to look.
    failure: why no camera of the node receives any more; empty while all is well.
    """

    name: str
    topic: str
    kind: MessageKind
    active: bool
    silence: float
    buffer: BufferStatistics
    publishers: tuple[Publisher, ...] | None
    failure: str = ""


class Camera:
    """One camera: its topic, its subscription while active, its buffer.

    Raises InvalidRequest for a topic name that ROS refuses.
    """

    def __init__(
        self, node: Node, name: str, settings: CameraSettings, limits: BufferLimits
    ) -> None:
        self.name = name
        self.kind = settings.kind
        self.buffer = FrameBuffer(name, settings.kind, limits)
        self.subscription: Subscription | None = None
        self._node = node
        self._clock: Clock = node.get_clock()
        self._topic = settings.topic
        self._heard = 0.0
        try:
            validate_full_topic_name(node.resolve_topic_name(self._topic))
        except (RuntimeError, NameValidationException) as error:
            reason = str(error).split(", at /")[0]  # without the place in ROS's own sources
            raise InvalidRequest(f"camera.{name}.topic is '{self._topic}': {reason}") from None

    @property
    def topic(self) -> str:
        """The topic with namespace and remappings applied."""
        if self.subscription is not None:
            return str(self.subscription.topic_name)
        return str(self._node.resolve_topic_name(self._topic))

    def subscribe(self, group: ReceiverCallbackGroup) -> Subscription:
        """Open the subscription: sensor data QoS, unless parameters qos_overrides.* say other.

        Raises InvalidRequest when they say what ROS does not know.
        """
        self._heard = time.monotonic()
        try:
            self.subscription = self._node.create_subscription(
                MESSAGE_TYPES[self.kind],
                self._topic,
                self._receive,
                sensor_qos(),
                callback_group=group,
                # Incompatible publishers are looked up when frames are missing; the default
                # callback would cost the executor one more entity for each camera.
                event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
                raw=True,
            )
        except (RuntimeError, ParameterException) as error:
            raise InvalidRequest(
                f"Camera {self.name} cannot subscribe to {self.topic}: {error}. Look at parameters "
                f"qos_overrides.{self.topic}.subscription.*."
            ) from error
        return self.subscription

    def unsubscribe(self) -> None:
        """Close the subscription and forget the frames."""
        if self.subscription is not None:
            self._node.destroy_subscription(self.subscription)
            self.subscription = None
        self.buffer.clear()

    def status(self, timeout: float) -> CameraStatus:
        """How it fares; its publishers are looked up after `timeout` seconds without a message."""
        silence = time.monotonic() - self._heard
        active = self.subscription is not None
        return CameraStatus(
            name=self.name,
            topic=self.topic,
            kind=self.kind,
            active=active,
            silence=silence if active else 0.0,
            buffer=self.buffer.statistics(),
            publishers=self._publishers() if active and silence > timeout else None,
        )

    def _receive(self, data: bytes) -> None:
        self._heard = time.monotonic()
        self.buffer.add(data, self._clock.now().nanoseconds)

    def _publishers(self) -> tuple[Publisher, ...]:
        wanted = self.kind.value
        qos = self._effective_qos()
        found = []
        for each in self._node.get_publishers_info_by_topic(self.topic):
            fault = ""
            if each.topic_type != wanted:
                fault = (
                    f"it offers {each.topic_type}, but the camera takes {wanted}; "
                    f"set camera.{self.name}.type or .topic"
                )
            else:
                compatibility, reason = qos_check_compatible(each.qos_profile, qos)
                if compatibility == QoSCompatibility.ERROR:
                    fault = (
                        f"its QoS does not fit ({reason.strip()}); "
                        f"set qos_overrides.{self.topic}.subscription.*"
                    )
            name = f"{each.node_namespace.rstrip('/')}/{each.node_name}"
            if "_UNKNOWN_" in name:  # discovery tells of an endpoint before it tells of its node
                name = "a publisher"
            found.append(Publisher(name, fault))
        return tuple(found)

    def _effective_qos(self) -> QoSProfile:
        """What the subscription asked for, with overrides, as the graph reports it."""
        own = (self._node.get_name(), self._node.get_namespace())
        for each in self._node.get_subscriptions_info_by_topic(self.topic):
            if (each.node_name, each.node_namespace) == own:
                return each.qos_profile
        return sensor_qos()


class Cameras:
    """All cameras of a node; they receive from activate() to deactivate()."""

    def __init__(
        self, node: Node, settings: Mapping[str, CameraSettings], limits: BufferLimits
    ) -> None:
        self._node = node
        self._cameras = [Camera(node, name, each, limits) for name, each in settings.items()]
        self._receiver: FrameReceiver | None = None

    @property
    def buffers(self) -> dict[str, FrameBuffer]:
        """The buffers by camera name."""
        return {camera.name: camera.buffer for camera in self._cameras}

    def activate(self) -> None:
        """Subscribe. Raises InvalidRequest for QoS overrides that ROS does not know."""
        try:
            group = ReceiverCallbackGroup()
            subscriptions = [camera.subscribe(group) for camera in self._cameras]
        except Exception:
            self.deactivate()
            raise
        if subscriptions:
            self._receiver = FrameReceiver(self._node, subscriptions)
            self._receiver.start()

    def deactivate(self) -> None:
        """Unsubscribe and forget all frames; to be called again does no harm."""
        if self._receiver is not None:
            self._receiver.stop()
            self._receiver = None
        for camera in self._cameras:
            camera.unsubscribe()

    def set_limits(self, limits: BufferLimits) -> None:
        """Put other limits in force for every buffer at once."""
        for camera in self._cameras:
            camera.buffer.set_limits(limits)

    def clear(self) -> None:
        """Forget all frames, as after a jump in time."""
        for camera in self._cameras:
            camera.buffer.clear()

    def status(self, timeout: float) -> list[CameraStatus]:
        """How each camera fares; see Camera.status."""
        failure = self._receiver.failure if self._receiver is not None else ""
        return [replace(camera.status(timeout), failure=failure) for camera in self._cameras]


def sensor_qos() -> QoSProfile:
    """The sensor data profile, as an object of its own: overrides are written into it."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT
    )
