# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Takes camera messages in a thread of its own, beside the node's executor.

An rclpy executor collects every entity of the node and builds a new wait set for each message,
which for images at camera rate costs several times the reception itself, and a camera behind it
waits for every other callback. Here one wait set over the cameras is reused, and the executor is
kept from them by their callback group. benchmarks/ingest.py measures the difference.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.guard_condition import GuardCondition
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.subscription import Subscription

# The thread looks at the context this often, should a shutdown not wake it.
_LOOK_UP_NS = 500_000_000


class ReceiverCallbackGroup(CallbackGroup):
    """The callback group of subscriptions that a FrameReceiver serves: no executor takes them."""

    def can_execute(self, entity: Any) -> bool:
        """Never by an executor."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Never by an executor."""
        return False

    def ending_execution(self, entity: Any) -> None:
        """Nothing is held."""


class FrameReceiver:
    """Calls the callbacks of subscriptions, one thread for all, from start() to stop().

    subscriptions: of ReceiverCallbackGroup; they may be destroyed after stop(). An exception of a
    callback is logged, and the next message is taken.
    failure: why the thread ended before stop(); empty while all is well.
    """

    def __init__(self, node: Node, subscriptions: Sequence[Subscription]) -> None:
        self._context = node.context
        self._logger = node.get_logger()
        self._subscriptions = tuple(subscriptions)
        self._stop = GuardCondition(None, None, context=node.context)
        self._stopping = False
        self.failure = ""
        self._thread = threading.Thread(target=self._run, name="frame_receiver", daemon=True)

    def start(self) -> None:
        """Start taking messages."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; afterwards no callback runs."""
        self._stopping = True
        if self._context.ok():
            self._stop.trigger()
        self._thread.join()
        self._stop.destroy()

    def _run(self) -> None:
        try:
            self._receive()
        except rclpy_implementation.InvalidHandle:
            return  # the context was shut down meanwhile
        except Exception as error:  # a thread must say why it ends
            self.failure = repr(error)
            if self._context.ok():
                self._logger.error(f"No more frames are received: {error!r}")

    def _receive(self) -> None:
        with ExitStack() as held:
            for entity in (self._context.handle, self._stop.handle):
                held.enter_context(entity)
            waiting = [(each.handle, each) for each in self._subscriptions]
            for handle, _ in waiting:
                held.enter_context(handle)
            wait_set = rclpy_implementation.WaitSet(
                len(waiting), 1, 0, 0, 0, 0, self._context.handle
            )
            while not self._stopping and self._context.ok():
                wait_set.clear_entities()
                for handle, _ in waiting:
                    wait_set.add_subscription(handle)
                wait_set.add_guard_condition(self._stop.handle)
                wait_set.wait(_LOOK_UP_NS)
                ready = wait_set.get_ready_entities("subscription")
                for handle, subscription in waiting:
                    if handle.pointer in ready:
                        # One a round, so that a flooding camera leaves the others their turn.
                        self._take(handle, subscription)

    def _take(self, handle: Any, subscription: Subscription) -> None:
        taken = handle.take_message(subscription.msg_type, subscription.raw)
        if taken is None:
            return
        try:
            subscription.callback(taken[0])
        except Exception as error:  # the next message must be taken all the same
            self._logger.error(
                f"A message on {subscription.topic_name} was lost: {error!r}",
                throttle_duration_sec=5.0,
            )
