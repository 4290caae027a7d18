# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Engines that answer without a model, for the tests of every room.

Name them in an EngineSpec, in process or behind SupervisedEngine:

    EngineSpec("test.doubles:EchoEngine", model="echo", options={"delay": 0.01})
    EngineSpec("test.doubles:CrashingEngine", model="crash")

EchoEngine answers with the last user message itself, part by part: the words of its texts, and
for each image `KEY:WIDTHxHEIGHT:#rrggbb` with the mean colour, for each video
`KEY:Nx WIDTHxHEIGHT:#rrggbb` without the space. One word is one token. So

    Message("user", (TextPart("what is here"), ImagePart(red, key="front@12")))

is answered by "what is here front@12:640x480:#ff0000". With option `whole=True` every message is
echoed, each behind its role ("system: … user: … assistant: … user: …"). With `choices` the answer
is the first choice that occurs in the prompt, else the first one, with probabilities; with
`json_schema` it is the smallest JSON value of the schema.

CrashingEngine does the same until a word of the answer is a command:

    !abort      abort(), as a CUDA assertion      !raise      RuntimeError, a bug in a runtime
    !segfault   read address 0                    !oom        MemoryError
    !kill       SIGKILL, as the kernel's OOM killer !vila-oom OutOfMemory, reported by the runtime
    !exit       _exit(7)                          !sysexit    SystemExit in the request's thread
    !cuda       RuntimeError, as torch says that the device is lost
    !hang       sleep for ever, deaf to cancel    !freeze     SIGSTOP: no heartbeat either
    !garbage    bytes that are not text on stdout and stderr, then go on
    !flood      200 kB of text on stderr, more than a pipe holds, then go on
    !pid        answers the worker's process id in place of the word
    !orphan     forks a child that keeps all files open, then SIGKILL
    !child      starts a process that would outlive the worker, and answers its id

so "one two !abort" streams two words first. Only numpy and the standard library are needed.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vila_ros.engine.interface import (
    Capabilities,
    FinishReason,
    GenerationRequest,
    GenerationStats,
    ImagePart,
    Message,
    Part,
    RgbImage,
    Stage,
    TextChunk,
    TextPart,
    VideoPart,
)
from vila_ros.errors import (
    Cancelled,
    DeadlineExceeded,
    InvalidCheckpoint,
    InvalidRequest,
    InvalidSchema,
    OutOfMemory,
    PromptTooLong,
    TooManyFrames,
)


class EchoEngine:
    """Answers with what it was asked; see the module.

    delay: seconds a token. encode_delay: seconds an image whose key was not seen before.
    load_time: seconds load() takes. The rest is reported in Capabilities and held to.
    """

    def __init__(
        self,
        model: str,
        *,
        delay: float = 0.0,
        encode_delay: float = 0.0,
        load_time: float = 0.0,
        max_images: int = 64,
        max_concurrency: int = 4,
        tokens_per_image: int = 16,
        context_length: int = 4096,
        whole: bool = False,
    ) -> None:
        self._capabilities = Capabilities(
            model=model,
            runtime="echo",
            device="cpu",
            dtype="none",
            max_images=max_images,
            tokens_per_image=tokens_per_image,
            context_length=context_length,
            max_concurrency=max_concurrency,
            structured_output=True,
            choice_probabilities=True,
            video=True,
            memory_bytes=1_000_000,
        )
        self.delay = delay
        self.encode_delay = encode_delay
        self.load_time = load_time
        self.whole = whole
        self._free = threading.Semaphore(max_concurrency)
        self._lock = threading.Lock()
        self._cancelled: dict[str, threading.Event] = {}
        self._seen: set[str] = set()
        self._loaded = False

    @property
    def capabilities(self) -> Capabilities | None:
        return self._capabilities if self._loaded else None

    def load(self) -> Capabilities:
        time.sleep(self.load_time)
        self._loaded = True
        return self._capabilities

    def generate(self, request: GenerationRequest) -> Iterator[TextChunk]:
        cancelled = threading.Event()
        with self._lock:
            self._cancelled[request.request_id] = cancelled
        return self._stream(request, cancelled, time.monotonic())

    def cancel(self, request_id: str) -> None:
        with self._lock:
            if request_id in self._cancelled:
                self._cancelled[request_id].set()

    def close(self) -> None:
        with self._lock:
            for cancelled in self._cancelled.values():
                cancelled.set()

    def answer(self, request: GenerationRequest) -> list[str]:
        """The answer's tokens; they make the text when joined by a space."""
        if request.json_schema is not None:
            return smallest(request.json_schema).split(" ")
        last = request.messages[-1]
        if request.choices:
            prompt = " ".join(part.text for part in last.parts if isinstance(part, TextPart))
            chosen = (choice for choice in request.choices if choice in prompt)
            return next(chosen, request.choices[0]).split(" ")
        if not self.whole:
            return words(last)
        return [word for each in request.messages for word in (f"{each.role}:", *words(each))]

    def token(self, word: str) -> str:
        """Called as each token is made; CrashingEngine acts here."""
        return word

    def _stream(
        self, request: GenerationRequest, cancelled: threading.Event, accepted: float
    ) -> Iterator[TextChunk]:
        try:
            self._check(request)
            yield TextChunk(stage=Stage.QUEUED)
            while not self._free.acquire(timeout=0.005):
                self._pause(0.0, request, cancelled)
            try:
                yield from self._generate(request, cancelled, accepted)
            finally:
                self._free.release()
        finally:
            with self._lock:
                self._cancelled.pop(request.request_id, None)

    def _generate(
        self, request: GenerationRequest, cancelled: threading.Event, accepted: float
    ) -> Iterator[TextChunk]:
        started = time.monotonic()
        yield TextChunk(stage=Stage.ENCODING)
        encoded = cached = 0
        for part in media(request):
            if part.key is not None and part.key in self._seen:
                cached += 1
                continue
            self._pause(self.encode_delay, request, cancelled)
            encoded += 1
            if part.key is not None:
                self._seen.add(part.key)
        seen = time.monotonic()
        answer = self.answer(request)
        text, tokens, first, reason = "", 0, seen, FinishReason.STOP
        for word in answer:
            if tokens == request.max_tokens:
                reason = FinishReason.LENGTH
                break
            self._pause(self.delay, request, cancelled)
            piece = (" " if tokens else "") + self.token(word)
            stop = cut([text + piece], request.stop)
            if stop is not None:
                piece = stop[len(text) :]
            text, tokens = text + piece, tokens + 1
            if tokens == 1:
                first = time.monotonic()
            yield TextChunk(text=piece, tokens=tokens)
            if stop is not None:
                break
        now = time.monotonic()
        images = encoded + cached
        stats = GenerationStats(
            queue_time=started - accepted,
            vision_time=seen - started,
            time_to_first_token=first - accepted,
            total_time=now - accepted,
            prompt_tokens=prompt_tokens(request, self._capabilities.tokens_per_image),
            image_tokens=images * self._capabilities.tokens_per_image,
            completion_tokens=tokens,
            tokens_per_second=tokens / max(now - seen, 1e-9),
            images_encoded=encoded,
            images_cached=cached,
        )
        yield TextChunk(
            tokens=tokens,
            finish_reason=reason,
            stats=stats,
            choice_probabilities=probabilities(request.choices, " ".join(answer)),
        )

    def _check(self, request: GenerationRequest) -> None:
        if request.max_tokens < 1:
            raise InvalidRequest(f"max_tokens is {request.max_tokens}; it must be at least 1.")
        if not request.messages or request.messages[-1].role != "user":
            raise InvalidRequest("The last message must be the user's.")
        images = len(media(request))
        if images > self._capabilities.max_images:
            raise TooManyFrames(f"{images} images; at most {self._capabilities.max_images}.")
        needed = prompt_tokens(request, self._capabilities.tokens_per_image)
        if needed > self._capabilities.context_length:
            raise PromptTooLong(f"{needed} tokens; at most {self._capabilities.context_length}.")

    @staticmethod
    def _pause(seconds: float, request: GenerationRequest, cancelled: threading.Event) -> None:
        """Wait, but no longer than until cancel() or the deadline."""
        wait = seconds
        if request.deadline is not None:
            wait = min(wait, request.deadline - time.monotonic())
        if cancelled.wait(max(wait, 0.0)) if wait > 0 else cancelled.is_set():
            raise Cancelled("The request was cancelled.")
        if request.deadline is not None and time.monotonic() >= request.deadline:
            raise DeadlineExceeded("The answer was not complete at its deadline.")


class CrashingEngine(EchoEngine):
    """An EchoEngine that obeys the commands listed in the module.

    load_needs: a file; load() raises InvalidCheckpoint while it does not exist.
    load_does: a command that load() obeys.
    """

    def __init__(
        self, model: str, *, load_needs: str = "", load_does: str = "", **options: object
    ) -> None:
        super().__init__(model, **options)  # type: ignore[arg-type]
        self.load_needs = load_needs
        self.load_does = load_does

    def load(self) -> Capabilities:
        if self.load_needs and not Path(self.load_needs).exists():
            raise InvalidCheckpoint(f"{self.load_needs} does not exist.")
        self.token(self.load_does)
        return super().load()

    def token(self, word: str) -> str:
        if not word.startswith("!"):
            return word
        print(f"obeying {word}", file=sys.stderr, flush=True)
        match word:
            case "!abort":
                os.abort()
            case "!segfault":
                ctypes.string_at(0)
            case "!kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "!exit":
                os._exit(7)
            case "!sysexit":
                raise SystemExit(7)
            case "!raise":
                raise RuntimeError("the runtime has a bug")
            case "!cuda":
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            case "!oom":
                raise MemoryError
            case "!vila-oom":
                raise OutOfMemory("8 GB were asked for, 1 GB was free.")
            case "!hang":
                while True:
                    time.sleep(3600)
            case "!freeze":
                # To this thread, which so cannot get one word further.
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            case "!garbage":
                os.write(1, b"VRW1\xff\xfe\x00 not a message\r\nhalf a line")
                os.write(2, b"\x80\x81\n")
            case "!flood":
                for _ in range(200):
                    print("x" * 1000, file=sys.stderr, flush=True)
            case "!pid":
                return str(os.getpid())
            case "!orphan":
                if os.fork():
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(1000)
            case "!child":
                return str(subprocess.Popen(["sleep", "1000"], close_fds=False).pid)
        return word


def media(request: GenerationRequest) -> list[ImagePart | VideoPart]:
    """Every image and video of the request, in order."""
    return [
        part
        for message in request.messages
        for part in message.parts
        if not isinstance(part, TextPart)
    ]


def words(message: Message) -> list[str]:
    """What the message says, a word each text word and each medium."""
    return [word for part in message.parts for word in part_words(part)]


def part_words(part: Part) -> list[str]:
    if isinstance(part, TextPart):
        return part.text.split()
    if isinstance(part, ImagePart):
        height, width = part.pixels.shape[:2]
        return [f"{part.key or 'image'}:{width}x{height}:{mean_colour([part.pixels])}"]
    height, width = part.frames[0].shape[:2]
    size = f"{len(part.frames)}x{width}x{height}"
    return [f"{part.key or 'video'}:{size}:{mean_colour(list(part.frames))}"]


def mean_colour(images: list[RgbImage]) -> str:
    """The mean colour as #rrggbb."""
    mean = np.mean([image.reshape(-1, 3).mean(axis=0) for image in images], axis=0)
    return "#" + "".join(f"{round(value):02x}" for value in mean)


def cut(texts: list[str], stops: tuple[str, ...]) -> str | None:
    """The text before the first stop string in it; None without one."""
    text = "".join(texts)
    found = [index for index in (text.find(stop) for stop in stops) if index >= 0]
    return text[: min(found)] if found else None


def prompt_tokens(request: GenerationRequest, tokens_per_image: int) -> int:
    """Words of all texts plus the images' tokens."""
    texts = (
        part.text
        for message in request.messages
        for part in message.parts
        if isinstance(part, TextPart)
    )
    return sum(len(text.split()) for text in texts) + tokens_per_image * len(media(request))


def probabilities(choices: tuple[str, ...], chosen: str) -> tuple[float, ...]:
    """0.7 for the chosen one, the rest shared evenly; 1 for a single choice."""
    if len(choices) < 2:
        return (1.0,) * len(choices)
    rest = 0.3 / (len(choices) - 1)
    return tuple(0.7 if choice == chosen else rest for choice in choices)


def smallest(schema: str) -> str:
    """The smallest JSON value of a schema of objects, arrays, enums and plain types."""
    try:
        loaded = json.loads(schema)
    except ValueError as error:
        raise InvalidSchema(f"The schema is not JSON: {error}.") from None
    return json.dumps(_smallest(loaded))


def _smallest(schema: object) -> object:
    if not isinstance(schema, dict):
        return None
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "null")
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: _smallest(properties.get(name)) for name in schema.get("required", ())}
    if kind == "array":
        return [_smallest(schema.get("items"))] * int(schema.get("minItems", 0))
    plain = {
        "string": "x" * int(schema.get("minLength", 0)),
        "integer": schema.get("minimum", 0),
        "number": schema.get("minimum", 0),
        "boolean": False,
    }
    return plain.get(str(kind))
