# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Answers from a VILA, several at a time: one thread that encodes, prefills and decodes in turns.

Each turn of the loop ends what was cancelled or is past its deadline, admits waiting requests to
free slots, then does one bounded piece of one new request's prompt (a group of images, or a chunk
of rows) and one decode step of all answers that are under way, so that a long prompt delays the
others' next token by one piece, not by all of it.

An answer does not depend on what else runs: it has its own slot, positions and random numbers. In
float32 the text is the same alone or in a batch. In bfloat16 and float16 matrix products of
different batch sizes may round differently, so that the text can differ where two tokens are
equally probable within that rounding.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from vila_ros.engine.interface import GenerationRequest
from vila_ros.errors import (
    Cancelled,
    DeadlineExceeded,
    DeviceLost,
    EngineFailed,
    InvalidRequest,
    VilaError,
    device_lost,
    is_device_lost,
)
from vila_ros.model.answer import Answer, AnswerStream, Phase
from vila_ros.model.choices import choice_log_probabilities
from vila_ros.model.decoder import Decoder, DecodeStep, StaticDecoder, compile_step
from vila_ros.model.embedding_cache import EmbeddingCache
from vila_ros.model.int4_decoder import Int4Decoder, can_step
from vila_ros.model.kv_cache import SlotCache
from vila_ros.model.memory import is_out_of_memory, out_of_memory
from vila_ros.model.prefix_cache import SlotTable
from vila_ros.model.prompt import Medium, lay_out
from vila_ros.model.sampling import TokenConstraint, check_logits
from vila_ros.quantization import triton_runtime
from vila_ros.quantization.int4_linear import Int4Linear

if TYPE_CHECKING:
    from vila_ros.model.vila import Vila

log = logging.getLogger(__name__)

IMAGES_AT_ONCE = {"cpu": 2, "cuda": 16}
"""Images encoded between two decode steps."""

ROWS_AT_ONCE = {"cpu": 256, "cuda": 2048}
"""Prompt rows computed between two decode steps."""


class Generator:
    """Generates for one Vila; submit() and cancel() may be called from any thread.

    max_concurrency: answers that advance together; further requests wait in order.
    context_length: rows of prompt and answer; None is the model's own.
    embedding_cache_bytes: for vision embeddings of recent images.
    compiled: on a GPU with Triton, compute by few kernels made for it (see fused_decoder), or, for
    models that they do not know, by what torch's compiler makes; else as the modules are written.
    """

    def __init__(
        self,
        vila: Vila,
        *,
        max_concurrency: int = 4,
        context_length: int | None = None,
        embedding_cache_bytes: int = 256 << 20,
        compiled: bool = True,
        decoder: Callable[[SlotCache], Decoder] | None = None,
    ) -> None:
        self.vila = vila
        self.max_concurrency = max_concurrency
        self.context_length = min(context_length or vila.context_length, vila.context_length)
        self.embeddings = EmbeddingCache(embedding_cache_bytes)
        device = torch.device(vila.device)
        self._images_at_once = IMAGES_AT_ONCE.get(device.type, 2)
        self._rows_at_once = ROWS_AT_ONCE.get(device.type, 256)
        with torch.inference_mode():
            self.cache = SlotCache(
                vila.language_model.config,
                slots=max_concurrency,
                context_length=self.context_length,
                dtype=vila.dtype,
                device=device,
            )
            self._decoder = self._make_decoder(decoder, compiled)
        self._slots = SlotTable(self.cache)
        self._tokenizer_lock = threading.Lock()
        self._wake = threading.Condition()
        self._waiting: deque[Answer] = deque()
        self._running: list[Answer] = []
        self._ahead: DecodeStep | None = None
        # Why everything ends, once it does.
        self._over: VilaError | None = None
        self._thread = threading.Thread(target=self._run, name="vila-generator", daemon=True)
        self._thread.start()

    def _make_decoder(
        self, decoder: Callable[[SlotCache], Decoder] | None, compiled: bool
    ) -> Decoder:
        if decoder is not None:
            return decoder(self.cache)
        if self.cache.device.type != "cuda":
            if can_step(self.vila.language_model, self.cache):
                return Int4Decoder(self.vila.language_model, self.cache)
            return Decoder(self.vila.language_model, self.cache)
        static = self._static_decoder(compiled)
        static.warm_up()
        return static

    def _static_decoder(self, compiled: bool) -> StaticDecoder:
        model = self.vila.language_model
        # torch's compiler, too, makes its kernels by Triton.
        if not compiled or not triton_runtime.usable(self.cache.device):
            return StaticDecoder(model, self.cache)
        from vila_ros.model.fused_decoder import can_fuse, checked

        if can_fuse(model, self.cache):
            return checked(model, self.cache) or StaticDecoder(model, self.cache)
        four = any(isinstance(module, Int4Linear) for module in model.modules())
        return StaticDecoder(model, self.cache, compiler=None if four else compile_step)

    # Called from any thread.

    def submit(
        self,
        request: GenerationRequest,
        make_constraint: Callable[[], TokenConstraint] | None = None,
    ) -> AnswerStream:
        """Start an answer; the iterator gives its text as it comes and raises what ended it.

        Nothing is raised here. make_constraint: what the answer must look like; called once, in the
        calling thread.
        """
        answer = Answer(request, self._decode_tokens, self.vila.stop_strings)
        try:
            self._check(request)
            if make_constraint is not None:
                answer.constraint = make_constraint()
            self._lay_out(answer)
        except VilaError as error:
            answer.fail(error)
            return answer.stream(lambda: None)
        except Exception as error:
            log.exception("preparing request %s failed", request.request_id)
            answer.fail(EngineFailed(f"preparing the prompt failed: {error}"))
            return answer.stream(lambda: None)
        with self._wake:
            if self._over is not None:
                answer.fail(type(self._over)(self._over.message))
            else:
                self._waiting.append(answer)
                self._wake.notify()
        return answer.stream(lambda: self._cancel(answer))

    def cancel(self, request_id: str) -> None:
        """End a request between two tokens; unknown ids are ignored."""
        with self._wake:
            found = [a for a in (*self._waiting, *self._running) if a.request_id == request_id]
        for answer in found:
            self._cancel(answer)

    def close(self) -> None:
        """End all requests with Cancelled and the thread; returns when it has ended."""
        with self._wake:
            self._over = self._over or Cancelled("the engine was closed")
            self._wake.notify()
        self._thread.join()
        self._decoder.close()

    def _cancel(self, answer: Answer) -> None:
        answer.cancelled = True
        with self._wake:
            self._wake.notify()

    def _check(self, request: GenerationRequest) -> None:
        if request.max_tokens < 1:
            raise InvalidRequest(f"max_tokens is {request.max_tokens}; it must be at least 1")
        if not 0.0 <= request.temperature < float("inf"):
            raise InvalidRequest(f"temperature is {request.temperature}; it must be at least 0")
        if not 0.0 < request.top_p <= 1.0:
            raise InvalidRequest(f"top_p is {request.top_p}; it must be above 0 and at most 1")
        if any(not stop for stop in request.stop):
            raise InvalidRequest("an empty stop string would end every answer; remove it")
        if request.json_schema is not None and request.choices:
            raise InvalidRequest("json_schema and choices exclude each other; set one of them")
        if any(not choice for choice in request.choices):
            raise InvalidRequest("choices must not be empty strings")
        if len(set(request.choices)) != len(request.choices):
            raise InvalidRequest("choices must be distinct")

    def _lay_out(self, answer: Answer) -> None:
        request = answer.request
        with self._tokenizer_lock:
            prompt = lay_out(self.vila, request.messages)
            answer.choices = [
                tuple(self.vila.tokenizer.encode(choice, add_special_tokens=False))
                for choice in request.choices
            ]
        answer.prompt = prompt
        answer.check_size(self.context_length)

    def _decode_tokens(self, tokens: Sequence[int]) -> str:
        with self._tokenizer_lock:
            return str(
                self.vila.tokenizer.decode(
                    tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
                )
            )

    # Called in the generator's own thread.

    def _run(self) -> None:
        try:
            with torch.inference_mode():
                while self._wait():
                    self._end_overdue()
                    self._admit()
                    self._advance_prompt()
                    self._advance_answers()
        except DeviceLost as lost:
            self._fail_all(lost)
        except Exception as error:
            # Between two guarded pieces: CUDA reports what failed at whichever call comes next.
            if not is_device_lost(error):
                raise
            self._fail_all(device_lost(error, "making room for a request"))
        else:
            self._fail_all(Cancelled("the engine was closed"))

    def _fail_all(self, over: VilaError) -> None:
        """End every request, also those to come."""
        with self._wake:
            self._over = over
            left = [*self._running, *self._waiting]
            self._running, self._waiting = [], deque()
        for answer in left:
            answer.fail(type(over)(over.message))

    def _wait(self) -> bool:
        """Sleep until there is something to do; False at the end."""
        with self._wake:
            while not (self._over or self._running or self._waiting):
                self._wake.wait()
            return self._over is None

    def _end_overdue(self) -> None:
        now = time.monotonic()
        with self._wake:
            answers = [*self._waiting, *self._running]
        for answer in answers:
            deadline = answer.request.deadline
            if answer.cancelled:
                self._end(answer, Cancelled(f"request {answer.request_id} was cancelled"))
            elif deadline is not None and now >= deadline:
                self._end(
                    answer,
                    DeadlineExceeded(
                        f"the deadline passed {now - deadline:.2f} s ago, after {answer.tokens} "
                        "tokens; allow more time or lower max_tokens"
                    ),
                )

    def _end(self, answer: Answer, error: VilaError | None = None) -> None:
        """Take an answer out, with its error if it has one; its slot keeps what it computed."""
        with self._wake:
            if answer in self._running:
                self._running.remove(answer)
                self._slots.computed(answer.slot, answer.names())
                self._slots.release(answer.slot)
                self._ahead = None
            elif answer in self._waiting:
                self._waiting.remove(answer)
        if error is not None:
            answer.fail(error)

    def _guard(self, answers: list[Answer], doing: str, work: Callable[[], None]) -> None:
        """Run a piece of work; what goes wrong ends the last of the answers it was for.

        Out of memory ends the youngest alone: the others try again without it. Raises DeviceLost,
        which ends the generator.
        """
        try:
            work()
        except DeviceLost:
            raise
        except VilaError as error:
            self._end(answers[-1], error)
        except Exception as error:
            self._ahead = None
            if is_out_of_memory(error):
                failure: VilaError = out_of_memory(error, doing, self.cache.device)
                del error
                self._end(answers[-1], failure)
                self.embeddings.clear()
                if self.cache.device.type == "cuda":
                    torch.cuda.empty_cache()
                return
            log.exception("%s failed", doing)
            if is_device_lost(error):
                raise device_lost(error, doing) from None
            for answer in answers:
                self._end(answer, EngineFailed(f"{doing} failed: {error}"))

    def _admit(self) -> None:
        while self._slots.free:
            with self._wake:
                if not self._waiting:
                    return
                answer = self._waiting.popleft()
                self._running.append(answer)
            answer.admitted(self._slots.take(answer.prompt.names))

    def _advance_prompt(self) -> None:
        answer = next((a for a in self._running if a.phase is not Phase.ANSWER), None)
        if answer is None:
            return
        if answer.phase is Phase.IMAGES:
            self._guard([answer], "encoding images", lambda: self._encode_some(answer))
        else:
            self._guard([answer], "computing the prompt", lambda: self._prefill_some(answer))
        # A watcher takes silence for a hang, and a prompt may wait here for those of the others.
        for waiting in self._running:
            if waiting.phase is not Phase.ANSWER:
                waiting.progressed()

    def _encode_some(self, answer: Answer) -> None:
        """Encode one group of the images that are in no cache; the last one begins the prompt."""
        missing: list[Medium] = []
        for medium in answer.media_wanted():
            cached = self.embeddings.get(medium.digest)
            if cached is not None:
                answer.embeddings[medium.digest] = cached
            elif medium.digest not in {other.digest for other in missing}:
                missing.append(medium)
        group = self._next_group(missing)
        if group:
            started = time.monotonic()
            for medium, embedding in zip(group, self._encode(group), strict=True):
                answer.embeddings[medium.digest] = embedding
                self.embeddings.put(medium.digest, embedding)
            answer.encoded(group, time.monotonic() - started)
        if len(group) == len(missing):
            answer.phase = Phase.PROMPT

    def _next_group(self, missing: list[Medium]) -> list[Medium]:
        """Images to encode together: some images, or one video."""
        if missing and missing[0].is_video:
            return missing[:1]
        images = [medium for medium in missing if not medium.is_video]
        return images[: self._images_at_once]

    def _encode(self, group: list[Medium]) -> list[torch.Tensor]:
        """Embeddings of a group, and the wait until they are there."""
        embeddings = self.vila.encode_media([medium.segment for medium in group])
        if self.cache.device.type == "cuda":
            torch.cuda.synchronize(self.cache.device)
        for medium, embedding in zip(group, embeddings, strict=True):
            if len(embedding) != medium.rows:
                raise EngineFailed(
                    f"an image gave {len(embedding)} rows where {medium.rows} were announced"
                )
        return embeddings

    def _prefill_some(self, answer: Answer) -> None:
        """Compute one chunk of the prompt; the last one begins the answer."""
        prompt, start = answer.prompt, answer.rows
        end = min(start + self._rows_at_once, len(prompt))
        embeddings = prompt.embed(self.vila, start, end, answer.embeddings)
        logits = self._decoder.prefill(answer.slot, start, embeddings, last=end == len(prompt))
        answer.rows = end
        self._slots.computed(answer.slot, prompt.names[:end])
        if logits is None:
            return
        answer.embeddings.clear()
        answer.phase = Phase.ANSWER
        if answer.choices:
            self._choose(answer, logits)
        else:
            self._take(answer, answer.pick(logits))

    def _choose(self, answer: Answer, logits: torch.Tensor) -> None:
        scores = choice_log_probabilities(
            self._decoder,
            answer.slot,
            len(answer.prompt),
            logits,
            answer.choices,
            self.vila.stop_token_ids,
        )
        answer.choose(scores)
        self._end(answer)

    def _advance_answers(self) -> None:
        answers = [answer for answer in self._running if answer.phase is Phase.ANSWER]
        if answers:
            self._guard(answers, "generating", lambda: self._decode_step(answers))

    def _decode_step(self, answers: list[Answer]) -> None:
        """One token for each answer."""
        rows = tuple((answer.slot, answer.rows) for answer in answers)
        step = self._ahead
        if step is None or step.rows != rows:
            step = self._decoder.decode(rows, [answer.last_token for answer in answers])
        free = all(answer.greedy for answer in answers)
        # The step after this one, unless it would be for nothing: see Decoder.follow.
        alone = len(answers) == len(self._running) and not self._waiting
        lasting = all(answer.tokens + 1 < answer.request.max_tokens for answer in answers)
        self._ahead = self._decoder.follow(step) if free and alone and lasting else None
        picked, best = step.wait()
        for i, answer in enumerate(answers):
            answer.rows += 1

            def take(answer: Answer = answer, i: int = i) -> None:
                if answer.greedy:
                    check_logits(best[i])
                    self._take(answer, picked[i])
                else:
                    self._take(answer, answer.pick(step.logits[i]))

            self._guard([answer], "picking a token", take)

    def _take(self, answer: Answer, token: int) -> None:
        if answer.add(token, self.vila.stop_token_ids):
            self._end(answer)
