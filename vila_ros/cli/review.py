# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila review`: a local page to accept, correct or reject drafts; and what came of it as files."""

from __future__ import annotations

import argparse
import getpass
import webbrowser
from pathlib import Path

from vila_ros.annotation.output import FORMATS, write_output
from vila_ros.annotation.store import AnnotationFolder
from vila_ros.errors import InvalidRequest
from vila_ros.web.film_strip import FilmStrips
from vila_ros.web.review import ReviewCalls
from vila_ros.web.server import LocalServer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="made by vila annotate")
    page = parser.add_argument_group("the page")
    page.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    page.add_argument("--reviewer", default="", help="your name (the user's)")
    page.add_argument("--no-browser", action="store_true", help="only print the address")
    page.add_argument(
        "--recordings", type=Path, action="append", default=[], metavar="DIR",
        help="a folder with recordings that were moved; repeatable",
    )  # fmt: skip
    files = parser.add_argument_group("no page, but what was accepted as files")
    files.add_argument("--out", type=Path, metavar="DIR", help="new folder")
    files.add_argument(
        "--format", action="append", choices=FORMATS, help="repeatable (all of them)"
    )
    files.add_argument("--drafts", action="store_true", help="also what nobody decided on yet")


def run(args: argparse.Namespace) -> int:
    """Write the output, or serve the page until Ctrl-C."""
    if args.out is not None:
        formats = tuple(dict.fromkeys(args.format or FORMATS))
        for line in write_output(args.folder, args.out, formats, drafts=args.drafts):
            print(line)
        return 0
    if args.format or args.drafts:
        raise InvalidRequest("--format and --drafts are of files; name their folder with --out")
    folder = AnnotationFolder(args.folder)
    calls = ReviewCalls(folder, FilmStrips(tuple(args.recordings)), args.reviewer or _user())
    server = LocalServer(calls.site(), args.port)
    print(f"{len(folder.candidates)} candidates; review them at\n\n    {server.url}\n")
    print("Every decision is saved at once. Ctrl-C ends.", flush=True)
    if not args.no_browser:
        webbrowser.open(server.url)
    try:
        server.serve()
    except KeyboardInterrupt:
        print()
    return 0


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in some containers
        return ""
