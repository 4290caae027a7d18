# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The action ~/ask and the service ~/query: requests in, answers out, nothing blocks.

Both hand a question to the Perceiver and await a future that the Perceiver's thread completes, so
the executor goes on meanwhile. Every goal is accepted: what is wrong with it is said by the
result's error_code, which a rejected goal could not carry.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import RCLError, ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.task import Future

from vila_ros.action import Ask
from vila_ros.errors import Cancelled, NotActive, VilaError
from vila_ros.nodes.conversions import clean, fill_outcome, question_from
from vila_ros.nodes.settings import Settings
from vila_ros.perception.perceiver import Perceiver, Ticket
from vila_ros.perception.types import Answer, Progress, Question
from vila_ros.srv import Query

# How long a finished goal's result is kept for clients that ask for it late, seconds.
_RESULT_KEPT = 5


class Exchange:
    """One question on its way: a future for its answer, and the means to end it early."""

    def __init__(self, future: Future) -> None:
        self.future = future
        # An rclpy future wakes its executor only for callbacks, not for coroutines that await it.
        future.add_done_callback(lambda _: None)
        self._ticket: Ticket | None = None
        self._ended_by: VilaError | None = None

    def begin(self, submit: Callable[[Callable[[Answer], None]], Ticket]) -> None:
        """Submit the question with the callback for its answer."""
        self._ticket = submit(self.finish)

    def finish(self, answer: Answer) -> None:
        """Complete the future; from any thread."""
        if self._ended_by is not None and isinstance(answer.error, Cancelled):
            answer = replace(answer, error=self._ended_by)
        self.future.set_result(answer)

    def end(self, reason: VilaError | None = None) -> None:
        """Cancel the question. The answer's error is the reason, or Cancelled."""
        self._ended_by = reason
        if self._ticket is not None:
            self._ticket.cancel()


class FeedbackStream:
    """Publishes the progress of one goal, at most `rate` times a second, and always the last."""

    def __init__(self, goal: ServerGoalHandle, rate: float) -> None:
        self._goal = goal
        self._period = 1.0 / rate
        self._lock = threading.Lock()
        self._next = 0.0
        self._stage: int | None = None
        self._held: Progress | None = None

    def show(self, progress: Progress) -> None:
        """Publish, or hold back until flush() if the next one replaces it in time."""
        now = time.monotonic()
        with self._lock:
            if progress.stage == self._stage and now < self._next:
                self._held = progress
                return
            self._next = now + self._period
            self._stage = progress.stage
            self._publish(progress)

    def flush(self) -> None:
        """Publish what was held back."""
        with self._lock:
            if self._held is not None:
                self._publish(self._held)

    def _publish(self, progress: Progress) -> None:
        self._held = None
        feedback = Ask.Feedback(
            stage=int(progress.stage), text=clean(progress.text), tokens=progress.tokens
        )
        # Once ROS is shut down there is nobody left to tell, and publishing would raise.
        with suppress(RCLError):
            self._goal.publish_feedback(feedback)


class Questions:
    """Serves ~/ask and ~/query from construction on; before open() with NOT_ACTIVE."""

    def __init__(self, node: LifecycleNode, settings: Settings) -> None:
        self._node = node
        self._logger = node.get_logger()
        self._settings = settings
        self._perceiver: Perceiver | None = None
        self._exchanges: set[Exchange] = set()
        self._goals: dict[bytes, Exchange] = {}
        # Several are on their way at once: each awaits its answer without holding the executor.
        group = ReentrantCallbackGroup()
        self._query = node.create_service(
            Query, "~/query", self._answer_query, callback_group=group
        )
        self._ask = ActionServer(
            node,
            Ask,
            "~/ask",
            self._answer_goal,
            cancel_callback=self._cancel_goal,
            callback_group=group,
            result_timeout=_RESULT_KEPT,
        )

    def open(self, perceiver: Perceiver) -> None:
        """Answer by this perceiver from now on."""
        self._perceiver = perceiver

    def close(self) -> None:
        """Answer NOT_ACTIVE from now on, also to the questions that are on their way."""
        self._perceiver = None
        for exchange in list(self._exchanges):
            exchange.end(NotActive("The node was deactivated before the answer was complete."))

    def set_settings(self, settings: Settings) -> None:
        """Put other limits in force, for the next question."""
        self._settings = settings

    def destroy(self) -> None:
        """Take the action and the service off the node."""
        self._ask.destroy()
        self._node.destroy_service(self._query)

    async def _answer_query(self, request: Query.Request, response: Query.Response) -> Any:
        exchange = self._begin(request, self._bounded)
        return fill_outcome(response, await self._answer_of(exchange))

    async def _answer_goal(self, goal: ServerGoalHandle) -> Ask.Result:
        feedback = FeedbackStream(goal, self._settings.feedback_rate)
        exchange = self._begin(goal.request, lambda question: question, feedback.show)
        identity = bytes(goal.goal_id.uuid)
        self._goals[identity] = exchange
        if goal.is_cancel_requested:  # between acceptance and now
            exchange.end()
        try:
            answer = await self._answer_of(exchange)
        finally:
            del self._goals[identity]
        try:
            feedback.flush()
            if answer.error is None:
                goal.succeed()
            elif isinstance(answer.error, Cancelled) and goal.is_cancel_requested:
                goal.canceled()
            else:
                goal.abort()
        except RCLError as error:
            self._logger.error(f"An answer could not be sent: {error}")
        return fill_outcome(Ask.Result(), answer)

    def _cancel_goal(self, goal: ServerGoalHandle) -> CancelResponse:
        exchange = self._goals.get(bytes(goal.goal_id.uuid))
        if exchange is not None:
            exchange.end()
        return CancelResponse.ACCEPT

    def _begin(
        self,
        request: Any,
        bounded: Callable[[Question], Question],
        show: Callable[[Progress], None] | None = None,
    ) -> Exchange:
        """Hand the request's question over; whatever goes wrong becomes the answer's error."""
        exchange = Exchange(Future(executor=self._node.executor))
        self._exchanges.add(exchange)
        try:
            if self._perceiver is None:
                raise NotActive(
                    f"The node {self._node.get_fully_qualified_name()} is not active; configure "
                    "and activate it first."
                )
            perceiver, question = self._perceiver, bounded(question_from(request))
            exchange.begin(lambda done: perceiver.submit(question, on_progress=show, on_done=done))
        except VilaError as error:
            exchange.finish(Answer(error=error))
        except Exception as error:  # a client must get an answer whatever happens here
            self._logger.error(f"A question failed by a defect of the node: {error!r}")
            exchange.finish(Answer(error=VilaError(f"A defect of the node: {error!r}")))
        return exchange

    async def _answer_of(self, exchange: Exchange) -> Answer:
        try:
            answer = await exchange.future
        finally:
            self._exchanges.discard(exchange)
        return answer if answer is not None else Answer(error=Cancelled("The node is ending."))

    def _bounded(self, question: Question) -> Question:
        """The question within the limits of the service."""
        settings = self._settings
        return replace(
            question,
            deadline=_capped(question.deadline, settings.deadline, settings.query_max_deadline),
            max_tokens=_capped(question.max_tokens, settings.max_tokens, settings.query_max_tokens),
        )


Number = TypeVar("Number", int, float)


def _capped(asked: Number, default: Number, cap: Number) -> Number:
    """What is asked for, at most the cap; what is no number stays, for the Perceiver to refuse."""
    return min(asked or default, cap) if math.isfinite(asked) else asked
