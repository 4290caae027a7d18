# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One answer under way: its prompt, its place, its tokens so far, its stream and its account."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto

import numpy as np
import torch

from vila_ros.engine.interface import (
    FinishReason,
    GenerationRequest,
    GenerationStats,
    Stage,
    TextChunk,
)
from vila_ros.errors import InvalidRequest, PromptTooLong, TooManyFrames, VilaError
from vila_ros.model.prefix_cache import Place
from vila_ros.model.prompt import Medium, Prompt, RowNames, text_names
from vila_ros.model.sampling import Sampler, TokenConstraint, check_logits
from vila_ros.model.text_stream import Detokenizer, StopStrings


class Phase(Enum):
    """What an admitted answer needs next."""

    IMAGES = auto()
    PROMPT = auto()
    ANSWER = auto()


class AnswerStream(Iterator[TextChunk]):
    """The consumer's end of an answer. Dropping or closing it cancels what has not ended."""

    def __init__(self, chunks: queue.SimpleQueue[TextChunk | VilaError], cancel: Callable) -> None:
        self._chunks = chunks
        self._cancel = cancel
        self._ended = False

    def __next__(self) -> TextChunk:
        if self._ended:
            raise StopIteration
        chunk = self._chunks.get()
        if isinstance(chunk, VilaError):
            self._ended = True
            raise chunk
        self._ended = chunk.finish_reason is not None
        return chunk

    def close(self) -> None:
        """Cancel the answer unless it has ended."""
        if not self._ended:
            self._ended = True
            self._cancel()

    def __del__(self) -> None:
        self.close()


class Answer:
    """What the generator knows of one request. Its thread alone changes it after submission, but
    for `cancelled`."""

    def __init__(
        self,
        request: GenerationRequest,
        decode: Callable[[Sequence[int]], str],
        stop_strings: Sequence[str],
    ) -> None:
        self.request = request
        self.cancelled = False
        self.phase = Phase.IMAGES
        self.prompt = Prompt((), text_names(()))
        self.choices: list[tuple[int, ...]] = []
        self.constraint: TokenConstraint | None = None
        self.slot = -1
        self.rows = 0
        self.embeddings: dict[bytes, torch.Tensor] = {}
        self._sampler = Sampler(request.temperature, request.top_p, request.seed)
        self._detokenizer = Detokenizer(decode)
        self._stops = StopStrings((*request.stop, *stop_strings))
        self._generated: list[int] = []
        self._chunks: queue.SimpleQueue[TextChunk | VilaError] = queue.SimpleQueue()
        self._accepted_at = time.monotonic()
        self._admitted_at = self._accepted_at
        self._first_token_at = 0.0
        self._vision_time = 0.0
        self._encoded_images = 0
        self._reused = 0

    @property
    def request_id(self) -> str:
        """The request's."""
        return self.request.request_id

    @property
    def tokens(self) -> int:
        """Tokens generated so far."""
        return len(self._generated)

    @property
    def last_token(self) -> int:
        """The newest token, whose keys and values are not stored yet."""
        return self._generated[-1]

    @property
    def greedy(self) -> bool:
        """Whether the most probable token is simply taken."""
        return self._sampler.greedy and self.constraint is None

    def stream(self, cancel: Callable[[], None]) -> AnswerStream:
        """The consumer's end; call once."""
        return AnswerStream(self._chunks, cancel)

    def check_size(self, context_length: int) -> None:
        """Raise TooManyFrames or PromptTooLong, with the counts, unless prompt and answer fit."""
        rows, images = len(self.prompt), self.prompt.image_rows
        asked = self.request.max_tokens
        if self.choices:
            asked = max(len(choice) for choice in self.choices) + 1  # each with its end
        if rows == 0:
            raise InvalidRequest("the prompt is empty; write a question")
        if images >= context_length:
            raise TooManyFrames(
                f"{self.prompt.images} images take {images} tokens of a context of "
                f"{context_length}; use fewer frames"
            )
        if rows + asked > context_length:
            raise PromptTooLong(
                f"{rows - images} text tokens, {images} image tokens and {asked} for the answer "
                f"exceed the context of {context_length}; shorten the prompt, use fewer frames or "
                "lower max_tokens"
            )

    def admitted(self, place: Place) -> None:
        """It has a slot now, whose first rows may be its own already."""
        self._admitted_at = time.monotonic()
        self.slot = place.slot
        self.rows = self._reused = place.reused
        self.progressed()

    def progressed(self) -> None:
        """Tell the consumer that the work goes on before the first token."""
        self._chunks.put(TextChunk(stage=Stage.ENCODING))

    def media_wanted(self) -> tuple[Medium, ...]:
        """Media with rows to compute whose embeddings are not at hand yet."""
        media = self.prompt.media_from(self.rows)
        return tuple(medium for medium in media if medium.digest not in self.embeddings)

    def encoded(self, media: Sequence[Medium], seconds: float) -> None:
        """Note that media went through the vision tower."""
        self._vision_time += seconds
        self._encoded_images += sum(medium.images for medium in media)

    def names(self) -> RowNames:
        """Names of the rows whose keys and values are stored."""
        return np.concatenate([self.prompt.names, text_names(self._generated)])[: self.rows]

    def pick(self, logits: torch.Tensor) -> int:
        """The next token of float32 logits [vocab]; they may be changed in place."""
        if self.constraint is not None:
            self.constraint.apply(logits)
        check_logits(logits.max())
        return self._sampler.pick(logits)

    def add(self, token: int, stop_token_ids: Sequence[int]) -> bool:
        """Take in the next token and stream what is certain of its text; True at the end."""
        if not self._first_token_at:
            self._first_token_at = time.monotonic()
        if token in stop_token_ids:
            self._finish(FinishReason.STOP)
            return True
        self._generated.append(token)
        text = self._stops.add(self._detokenizer.add(token))
        if self.constraint is not None:
            self.constraint.accept(token)
        complete = self.constraint is not None and self.constraint.complete()
        if complete or self._stops.stopped:
            self._finish(FinishReason.STOP, text)
            return True
        if self.tokens >= self.request.max_tokens:
            self._finish(FinishReason.LENGTH, text)
            return True
        self._chunks.put(TextChunk(text=text, tokens=self.tokens))
        return False

    def choose(self, log_probabilities: torch.Tensor) -> None:
        """End with one of the choices: the most probable, or one drawn at the temperature.

        log_probabilities: float64 [choices], not normalised.
        """
        check_logits(log_probabilities.max())
        probabilities = log_probabilities.softmax(-1)
        if self._sampler.greedy:
            picked = int(probabilities.argmax())
        else:
            tempered = (log_probabilities / self._sampler.temperature).softmax(-1)
            picked = self._sampler.pick_weighted(tempered)
        self._first_token_at = time.monotonic()
        self._generated = list(self.choices[picked])
        self._chunks.put(
            TextChunk(
                text=self.request.choices[picked],
                tokens=self.tokens,
                finish_reason=FinishReason.STOP,
                stats=self._stats(),
                choice_probabilities=tuple(probabilities.tolist()),
            )
        )

    def fail(self, error: VilaError) -> None:
        """End with an error."""
        self._chunks.put(error)

    def _finish(self, reason: FinishReason, text: str = "") -> None:
        if not self._stops.stopped:
            text += self._stops.add(self._detokenizer.finish())
        if self._stops.stopped:
            reason = FinishReason.STOP
        else:
            text += self._stops.finish()
        self._chunks.put(
            TextChunk(text=text, tokens=self.tokens, finish_reason=reason, stats=self._stats())
        )

    def _stats(self) -> GenerationStats:
        now = time.monotonic()
        generating = now - self._first_token_at
        images = self.prompt.images
        return GenerationStats(
            queue_time=self._admitted_at - self._accepted_at,
            vision_time=self._vision_time,
            time_to_first_token=self._first_token_at - self._accepted_at,
            total_time=now - self._accepted_at,
            prompt_tokens=len(self.prompt),
            image_tokens=self.prompt.image_rows,
            cached_tokens=self._reused,
            completion_tokens=self.tokens,
            tokens_per_second=(self.tokens - 1) / generating
            if self.tokens > 1 and generating > 0 and not self.choices
            else 0.0,
            images_encoded=self._encoded_images,
            images_cached=images - self._encoded_images,
        )
