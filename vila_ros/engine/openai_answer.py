# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A question on its way to an answer: from server to server, and from form to form.

A question is put again only while nothing of an answer has been given out: so no answer is given
twice, nor mixed from two servers. An answer with a schema or choices is given out once it has been
checked. Everything but Call.cancel and Call.cancelled belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

from vila_ros.engine.interface import (
    FinishReason,
    GenerationRequest,
    GenerationStats,
    Stage,
    TextChunk,
)
from vila_ros.engine.openai_constraint import Constraint, choice_probabilities
from vila_ros.engine.openai_errors import Refusal, Trouble
from vila_ros.engine.openai_exchange import Patience, completion
from vila_ros.engine.openai_requests import Body, BodyWriter
from vila_ros.engine.openai_stream import TokenChances, Usage, WholeText
from vila_ros.engine.server_pool import Server, ServerPool, backoff, limited
from vila_ros.errors import InvalidOutput, VilaError
from vila_ros.model.text_stream import StopStrings

logger = logging.getLogger(__name__)

_LONGEST_WAIT = 60.0
_SLICE = 2.0


@dataclass(eq=False)
class Call:
    """A request on its way.

    accepted, started: monotonic times of generate() and of leaving the queue. given: some text of
    an answer has been given out. cancelled: nobody waits for it any more. outbox: what the caller's
    thread still has to hand out.
    """

    request: GenerationRequest
    accepted: float
    constraint: Constraint | None = None
    wants_chances: bool = False
    writer: BodyWriter | None = None
    images_encoded: int = 0
    images_cached: int = 0
    given: bool = False
    started: float = 0.0
    future: Future[None] | None = None
    cancelled: bool = False
    outbox: queue.SimpleQueue[TextChunk | VilaError] = field(default_factory=queue.SimpleQueue)

    def cancel(self, error: VilaError) -> None:
        """End it with the error, and disconnect."""
        self.cancelled = True
        self.outbox.put(error)
        if self.future is not None:
            self.future.cancel()

    def give(self, chunk: TextChunk) -> None:
        """Hand a chunk to the caller; from its first text on there is no other attempt.

        Ends the task of a call that is cancelled: before Python 3.12 asyncio.wait_for loses a
        cancellation that comes just when what it awaits has ended.
        """
        if self.cancelled:
            raise asyncio.CancelledError
        self.given = self.given or bool(chunk.text)
        self.outbox.put(chunk)

    @property
    def seconds_left(self) -> float | None:
        """Until the deadline; None without one."""
        deadline = self.request.deadline
        return None if deadline is None else deadline - time.monotonic()


@dataclass(eq=False)
class Answer:
    """What one attempt brought."""

    text: str = ""
    tokens: int = 0
    finish_reason: FinishReason = FinishReason.STOP
    usage: Usage | None = None
    chances: list[TokenChances] = field(default_factory=list)
    first_token: float = 0.0
    last_token: float = 0.0


class Answerer:
    """Puts questions to the servers of a pool.

    retries: further attempts for one question.
    """

    def __init__(self, pool: ServerPool, patience: Patience, retries: int) -> None:
        self._pool = pool
        self._patience = patience
        self._retries = retries

    async def answer(self, call: Call) -> Answer:
        """Put the question until it is answered or no attempt is left; raises Trouble."""
        failed: list[Server] = []
        trouble: Trouble | None = None
        while True:
            server = self._pool.pick(failed)
            wait = server.not_before - time.monotonic()
            if trouble is not None:
                elsewhere = server not in failed and server.error is None
                may_help = trouble.retry or (trouble.down and elsewhere)
                if call.given or not may_help or len(failed) > self._retries:
                    raise trouble
                if not elsewhere:
                    wait = max(wait, backoff(len(failed)))
            left = call.seconds_left
            if wait > (_LONGEST_WAIT if left is None else left):
                raise trouble or limited(server, wait)
            if trouble is not None:
                logger.info("Attempt %d failed: %s", len(failed), trouble.error.message)
            if wait > 0:
                await _wait(call, wait)
                server = self._pool.pick(failed)
            try:
                return await self._ask(call, server)
            except Trouble as failure:
                trouble = failure
                self._pool.mark_failed(server, trouble)
                failed.append(server)

    async def _ask(self, call: Call, server: Server) -> Answer:
        """Put the question to one server, in whichever form it takes; raises Trouble."""
        assert call.writer is not None
        plan = server.dialect.plan(call.constraint)
        while True:
            body = call.writer.body(plan, call.constraint, logprobs=call.wants_chances)
            # Says that it goes on: a watcher knows how long one attempt may take, not how many.
            call.give(TextChunk(stage=Stage.ENCODING))
            server.in_flight += 1
            server.last_used = time.monotonic()
            try:
                answer = await self._receive(call, server, body)
            except Refusal as refusal:
                next_plan = plan.after_refusal(refusal.said, body.fields)
                if next_plan is None:
                    raise
                plan = next_plan
                continue
            finally:
                server.in_flight -= 1
            self._pool.mark_well(server)
            if call.constraint is not None:
                try:
                    answer.text = call.constraint.accept(answer.text)
                except InvalidOutput as invalid:
                    cut = answer.finish_reason is FinishReason.LENGTH
                    next_plan = None if cut else plan.after_violation()
                    if next_plan is None:
                        server.dialect.learn(call.constraint, plan)
                        call.give(TextChunk(answer.text, answer.tokens))
                        raise Trouble(invalid, retry=False) from None
                    plan = next_plan
                    continue
                call.give(TextChunk(answer.text, answer.tokens))
            server.dialect.learn(call.constraint, plan)
            call.give(last_chunk(call, answer))
            return answer

    async def _receive(self, call: Call, server: Server, body: Body) -> Answer:
        """One answer of one server; free text is given out as it comes."""
        answer = Answer()
        whole, stops = WholeText(), StopStrings(call.request.stop)
        free = call.constraint is None
        stream = completion(server, self._pool.headers, body, self._patience)
        async with contextlib.aclosing(stream) as deltas:
            async for delta in deltas:
                if delta.text or delta.reasoning:
                    answer.tokens += 1
                    answer.last_token = time.monotonic()
                    answer.first_token = answer.first_token or answer.last_token
                    new = stops.add(whole.add(delta.text))
                    answer.text += new
                    call.give(TextChunk(new if free else "", answer.tokens))
                answer.chances += delta.chances
                answer.usage = delta.usage or answer.usage
                if delta.finish_reason == "length":
                    answer.finish_reason = FinishReason.LENGTH
                if stops.stopped:
                    answer.finish_reason = FinishReason.STOP
                    break
        if not stops.stopped:
            rest = stops.add(whole.finish()) + stops.finish()
            answer.text += rest
            if rest and free:
                call.give(TextChunk(rest, answer.tokens))
        if answer.usage is not None and answer.usage.completion_tokens:
            answer.tokens = answer.usage.completion_tokens
        return answer


async def _wait(call: Call, seconds: float) -> None:
    """Sleep, and say meanwhile that it goes on: a watcher takes silence for a hang."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        call.give(TextChunk(stage=Stage.ENCODING))
        await asyncio.sleep(min(left, _SLICE))


def last_chunk(call: Call, answer: Answer) -> TextChunk:
    """The end of the stream, with what the answer cost."""
    now = time.monotonic()
    first = answer.first_token or now
    usage = answer.usage or Usage()
    decoding = answer.last_token - first
    rate = (answer.tokens - 1) / decoding if answer.tokens > 1 and decoding > 0 else 0.0
    return TextChunk(
        tokens=answer.tokens,
        finish_reason=answer.finish_reason,
        stats=GenerationStats(
            queue_time=call.started - call.accepted,
            time_to_first_token=first - call.accepted,
            total_time=now - call.accepted,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_tokens,
            completion_tokens=answer.tokens,
            tokens_per_second=rate,
            images_encoded=call.images_encoded,
            images_cached=call.images_cached,
        ),
        choice_probabilities=choice_probabilities(call.request.choices, answer.chances)
        if call.wants_chances
        else (),
    )
