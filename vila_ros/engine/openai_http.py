# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The runtime openai_http: a model behind trtllm-serve, vLLM, SGLang, llama.cpp's server, or any
other server that speaks OpenAI's chat completions.

The caller's thread checks the request and encodes its images; an event loop in a thread of the
engine's own talks to the servers (openai_answer), so that a cancel or a deadline ends whatever is
under way at once, by disconnecting.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from typing import Any

import numpy as np

from vila_ros.engine.background_loop import BackgroundLoop
from vila_ros.engine.interface import (
    Capabilities,
    GenerationRequest,
    ImagePart,
    Message,
    Stage,
    TextChunk,
    TextPart,
    VideoPart,
)
from vila_ros.engine.openai_answer import Answer, Answerer, Call
from vila_ros.engine.openai_constraint import constraint_of
from vila_ros.engine.openai_errors import Trouble
from vila_ros.engine.openai_exchange import Patience
from vila_ros.engine.openai_images import ImageEncoder
from vila_ros.engine.openai_options import HttpOptions, options_of
from vila_ros.engine.openai_requests import BodyWriter, check_messages, media_of
from vila_ros.engine.server_pool import ServerPool
from vila_ros.errors import (
    Cancelled,
    DeadlineExceeded,
    EngineDown,
    InvalidRequest,
    TooManyFrames,
    Unsupported,
    VilaError,
)

logger = logging.getLogger(__name__)

_DEFAULT_TOKENS_PER_IMAGE = 256
_DEFAULT_CONTEXT_LENGTH = 32768
_PROBE_IMAGE = (480, 640)
_RECHECK_SECONDS = 1.0


class OpenAiHttpEngine:
    """Engine over HTTP; options as in openai_options.HttpOptions."""

    def __init__(self, model: str, **options: Any) -> None:
        self._model = model
        self._options: HttpOptions = options_of(options)
        self._encoder = ImageEncoder(self._options.encoding())
        self._loop = BackgroundLoop("openai_http")
        self._lock = threading.Lock()
        self._calls: dict[str, Call] = {}
        self._capabilities: Capabilities | None = None
        self._no_vision: VilaError | None = None
        self._answerer: Answerer | None = None
        self._slots: asyncio.Semaphore | None = None
        self._watch: Future[None] | None = None
        self._closed = False

    @property
    def capabilities(self) -> Capabilities | None:
        """What the model can do; None until it has been loaded once."""
        return self._capabilities

    def load(self) -> Capabilities:
        """Find a server that answers, and what its model can do."""
        options = self._options
        key = options.key()
        if key and any(not url.secure and not url.is_loopback for url in options.urls()):
            logger.warning("The key travels unencrypted: a server's URL begins with http://.")
        pool = ServerPool(
            options.urls(),
            model=self._model,
            key=key,
            kind=options.kind,
            tls=options.tls(),
            connect_timeout=options.connect_timeout,
            check_timeout=options.check_timeout,
        )
        self._loop.start()
        try:
            self._capabilities = self._loop.submit(self._load(pool)).result()
        except Trouble as trouble:
            raise trouble.error from None
        except (RuntimeError, CancelledError):
            raise Cancelled("The engine was closed.") from None
        if self._watch is None:
            self._watch = self._loop.submit(pool.watch(options.check_interval))
        return self._capabilities

    def generate(self, request: GenerationRequest) -> Iterator[TextChunk]:
        """Stream an answer; see Engine.generate."""
        call = Call(request, time.monotonic())
        with self._lock:
            duplicate = request.request_id in self._calls
            if not duplicate:
                self._calls[request.request_id] = call
        if duplicate:
            raise InvalidRequest(f"A request {request.request_id!r} is already in flight.")
        return self._stream(call)

    def cancel(self, request_id: str) -> None:
        """End a request by disconnecting from its server; unknown ids are ignored."""
        with self._lock:
            call = self._calls.get(request_id)
        if call is not None:
            call.cancel(Cancelled("The request was cancelled."))

    def close(self) -> None:
        """End all requests with Cancelled and close every connection."""
        with self._lock:
            self._closed = True
            calls = list(self._calls.values())
        for call in calls:
            call.cancel(Cancelled("The engine was closed."))
        self._loop.stop()
        self._encoder.close()

    # --- in the caller's thread -----------------------------------------------------------------

    def _stream(self, call: Call) -> Iterator[TextChunk]:
        try:
            self._check(call)
            yield TextChunk(stage=Stage.QUEUED)
            self._write(call)
            if not call.cancelled and (call.seconds_left is None or call.seconds_left > 0):
                call.future = self._submit(call)
            yield from self._hand_out(call)
        finally:
            with self._lock:
                self._calls.pop(call.request.request_id, None)
            call.cancelled = True
            if call.future is not None:
                call.future.cancel()

    def _submit(self, call: Call) -> Future[None]:
        try:
            future = self._loop.submit(self._run(call))
        except RuntimeError:
            raise Cancelled("The engine was closed.") from None
        # close() may end the loop before _run has begun, which then cannot say so itself.
        future.add_done_callback(
            lambda done: (
                call.outbox.put(Cancelled("The engine was closed.")) if done.cancelled() else None
            )
        )
        return future

    def _hand_out(self, call: Call) -> Iterator[TextChunk]:
        if call.cancelled and call.future is not None:
            call.future.cancel()  # cancel() came before there was anything to disconnect
        while True:
            left = call.seconds_left
            try:
                item = call.outbox.get(timeout=None if left is None else max(left, 0.0))
            except queue.Empty:
                raise DeadlineExceeded(
                    "The answer was not complete at its deadline; the server was told to stop."
                ) from None
            if isinstance(item, VilaError):
                raise item
            yield item
            if item.finish_reason is not None:
                return

    def _check(self, call: Call) -> None:
        request = call.request
        if self._capabilities is None:
            raise EngineDown("The engine has not been loaded.")
        check_messages(request.messages)
        if request.max_tokens < 1:
            raise InvalidRequest(f"max_tokens is {request.max_tokens}; it must be at least 1.")
        if not (request.temperature >= 0 and 0 < request.top_p <= 1):
            raise InvalidRequest(
                f"temperature is {request.temperature} and top_p {request.top_p}; they must be at "
                "least 0, and above 0 up to 1."
            )
        call.constraint = constraint_of(request)
        call.wants_chances = len(request.choices) > 1
        media = media_of(request.messages)
        images = sum(len(part.frames) if isinstance(part, VideoPart) else 1 for part in media)
        if images and self._no_vision is not None:
            raise Unsupported(self._no_vision.message)
        if images > self._options.max_images:
            raise TooManyFrames(
                f"{images} images; the option max_images is {self._options.max_images}. Ask with "
                "fewer frames, or raise it if the server takes more."
            )

    def _write(self, call: Call) -> None:
        parts = media_of(call.request.messages)
        media, call.images_encoded = self._encoder.encode(parts)
        call.images_cached = sum(len(each.base64) for each in media) - call.images_encoded
        call.writer = BodyWriter(self._model, call.request, media, self._options.style())

    # --- in the event loop's thread -------------------------------------------------------------

    async def _run(self, call: Call) -> None:
        try:
            answerer, slots = self._answerer, self._slots
            if answerer is None or slots is None:
                raise Trouble(EngineDown("The engine has not been loaded."), retry=False)
            async with slots:
                call.started = time.monotonic()
                await answerer.answer(call)
        except Trouble as trouble:
            call.outbox.put(trouble.error)
        except asyncio.CancelledError:
            call.outbox.put(Cancelled("The request was cancelled."))
            raise
        except Exception as error:
            logger.exception("A defect of openai_http")
            call.outbox.put(VilaError(f"A defect of openai_http: {error!r}. Please report it."))

    # --- loading --------------------------------------------------------------------------------

    async def _load(self, pool: ServerPool) -> Capabilities:
        limit = self._options.load_timeout
        await self._wait_for_server(pool, time.monotonic() + limit)
        try:
            return await asyncio.wait_for(self._explore(pool), limit)
        except asyncio.TimeoutError:
            raise Trouble(
                EngineDown(f"No server generated a token within {limit:g} s (load_timeout)."),
                retry=False,
            ) from None

    async def _wait_for_server(self, pool: ServerPool, until: float) -> None:
        """Wait while all servers are down: a robot may be up before them."""
        while True:
            await pool.check_all()
            down = pool.all_down()
            if down is None:
                return
            left = until - time.monotonic()
            if not isinstance(down, EngineDown) or left <= 0:
                raise Trouble(down, retry=False)
            await asyncio.sleep(min(_RECHECK_SECONDS, left))

    async def _explore(self, pool: ServerPool) -> Capabilities:
        self._slots = asyncio.Semaphore(self._options.max_concurrency)
        options = self._options
        answerer = Answerer(
            pool, Patience(options.first_token_timeout, options.stall_timeout), options.retries
        )
        blind = await self._probe(answerer, with_image=False)
        image_tokens = await self._image_tokens(answerer, blind)
        self._answerer = answerer
        cards = [card for server in pool.servers for card in server.models]
        told = [card.context_length for card in cards if card.name == self._model]
        return Capabilities(
            model=self._model,
            runtime="openai_http",
            device="remote",
            dtype="unknown",
            max_images=0 if self._no_vision is not None else options.max_images,
            tokens_per_image=options.tokens_per_image or image_tokens,
            context_length=options.context_length
            or min(filter(None, told), default=_DEFAULT_CONTEXT_LENGTH),
            max_concurrency=options.max_concurrency,
            structured_output=True,
            choice_probabilities=bool(blind.chances),
            video=self._no_vision is None and options.video == "video_url",
            encoded_images=options.encoding().files,
        )

    async def _image_tokens(self, answerer: Answerer, blind: Answer) -> int:
        """Tokens of one camera image, as far as it can be told; sets _no_vision."""
        self._no_vision = None
        if self._options.vision is False:
            self._no_vision = Unsupported("The option vision says that the model sees no images.")
        if self._options.vision is not None:
            return _DEFAULT_TOKENS_PER_IMAGE
        try:
            seeing = await self._probe(answerer, with_image=True)
        except Trouble as trouble:
            if not isinstance(trouble.error, Unsupported):
                raise
            self._no_vision = trouble.error
            logger.warning("%s", trouble.error.message)
            return _DEFAULT_TOKENS_PER_IMAGE
        if not (seeing.usage and blind.usage and blind.usage.prompt_tokens):
            return _DEFAULT_TOKENS_PER_IMAGE
        tokens = seeing.usage.prompt_tokens - blind.usage.prompt_tokens
        if tokens <= 0:
            # Some servers drop images without a word, and the model would answer at random.
            self._no_vision = Unsupported(
                f"Model {self._model!r} of {', '.join(self._options.servers)} ignores images: a "
                "prompt has as many tokens with an image as without. Serve a model with vision, or "
                "set the option vision to true if the server only does not count them."
            )
            logger.warning("%s", self._no_vision.message)
        return max(tokens, 1)

    async def _probe(self, answerer: Answerer, *, with_image: bool) -> Answer:
        """One token of an answer: proof that a server generates, and how it counts."""
        parts: tuple[Any, ...] = (TextPart("Say yes."),)
        if with_image:
            grey = np.full((*_PROBE_IMAGE, 3), 128, np.uint8)
            parts = (ImagePart(grey, "probe"), *parts)
        request = GenerationRequest("probe", (Message("user", parts),), max_tokens=1)
        call = Call(request, time.monotonic(), wants_chances=not with_image)
        self._write(call)
        call.request = replace(request, deadline=call.accepted + self._options.load_timeout)
        return await answerer.answer(call)
