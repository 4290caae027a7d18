# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila chat`: a conversation about images, in the terminal or from a pipe."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

from vila_ros.cli.describe import add_engine_arguments, build_engine, describe_stats
from vila_ros.cli.media import read_image, read_media
from vila_ros.engine.interface import (
    Engine,
    GenerationRequest,
    ImagePart,
    Message,
    Part,
    TextPart,
)
from vila_ros.errors import VilaError

HELP = """\
/image PATH   show a picture with the next question
/video PATH   show frames of a video with the next question
/clear        forget the conversation
/help         this text
/quit         leave (also Ctrl-D); Ctrl-C ends an answer"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--system", default="", help="system prompt")
    parser.add_argument("--stats", action="store_true", help="say what each answer cost")
    add_engine_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Talk until the input ends."""
    with contextlib.closing(build_engine(args)) as engine:
        engine.load()
        if sys.stdin.isatty():
            print(HELP)
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")  # a byte that is no text must not end the talk
        chat = Chat(engine, args)
        for line in read_lines():
            if not chat.take(line.strip()):
                break
    return 0


def read_lines() -> Iterator[str]:
    """Lines of the terminal or the pipe; Ctrl-C at the prompt clears the line."""
    prompt = "> " if sys.stdin.isatty() else ""
    while True:
        try:
            yield input(prompt)
        except EOFError:
            return
        except KeyboardInterrupt:
            print()


class Chat:
    """A conversation: what was said, and what the next question shows."""

    def __init__(self, engine: Engine, args: argparse.Namespace) -> None:
        self._engine = engine
        self._args = args
        self._messages: list[Message] = []
        self._shown: list[Part] = []
        self._numbers = itertools.count()

    def take(self, line: str) -> bool:
        """Do what a line says; False to leave. Errors are printed, and the talk goes on."""
        command, _, rest = line.partition(" ")
        try:
            if command == "/quit":
                return False
            if command == "/help":
                print(HELP)
            elif command == "/clear":
                self._messages, self._shown = [], []
            elif command == "/image":
                self._shown.append(ImagePart(read_image(Path(rest.strip()).expanduser())))
            elif command == "/video":
                self._shown += read_media(Path(rest.strip()).expanduser(), self._args.frames)
            elif command.startswith("/"):
                print(f"{command} is unknown; /help lists the commands")
            elif line:
                self._ask(line)
        except VilaError as error:
            print(f"error: {error.message}", file=sys.stderr)
        return True

    def _ask(self, text: str) -> None:
        """Ask, stream the answer, and remember both; what was not answered is forgotten."""
        question = Message("user", (*self._shown, TextPart(text)))
        system = (Message("system", (TextPart(self._args.system),)),) if self._args.system else ()
        request = GenerationRequest(
            f"chat-{next(self._numbers)}",
            (*system, *self._messages, question),
            max_tokens=self._args.max_tokens,
            temperature=self._args.temperature,
            top_p=self._args.top_p,
            seed=self._args.seed,
        )
        answer = ""
        last = None
        try:
            for last in self._engine.generate(request):
                answer += last.text
                print(last.text, end="", flush=True)
        except KeyboardInterrupt:
            self._engine.cancel(request.request_id)
            print(" …", end="")
        print()
        if answer:
            self._messages += [question, Message("assistant", (TextPart(answer),))]
            self._shown = []
        if self._args.stats and last is not None:
            print(describe_stats(last), file=sys.stderr)
