# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The demonstration: node and player in processes of their own, questions between them."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from pathlib import Path

from vila_ros.errors import DeadlineExceeded, EngineDown, VilaError
from vila_ros.msg import SceneDescription
from vila_ros.nodes.demo.client import Client, Event, Feedback, Outcome, engine_failure
from vila_ros.nodes.demo.known import CLIP_FRAMES
from vila_ros.nodes.demo.material import EMBEDDED_NOTE, Material
from vila_ros.nodes.demo.processes import Child
from vila_ros.nodes.demo.questions import DemoQuestion, faults
from vila_ros.nodes.demo.record import Record
from vila_ros.nodes.demo.screen import Screen, verdict
from vila_ros.perception.types import MessageKind

# The embedded model answers at once; a real one may run on a CPU here.
_LOAD_LIMIT = {True: 300.0, False: 3600.0}
_DEADLINE = {True: 60.0, False: 600.0}
_FRAMES_BEFORE_ASKING = 8
_STILL = 60.0  # seconds without a frame after which something is wrong


class ChildDied(VilaError):
    """A process of the demonstration ended before its time."""


def environment(material: Material) -> dict[str, str]:
    """The children's environment: a ROS domain of its own, so that no robot nearby takes part."""
    values = dict(os.environ)
    # 0 to 101 are free of the system's ephemeral ports (docs.ros.org, About Domain ID).
    values.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    values.setdefault("FASTDDS_BUILTIN_TRANSPORTS", "LARGE_DATA")
    if all(camera.kind is MessageKind.COMPRESSED_IMAGE for camera in material.cameras):
        # It undoes LARGE_DATA, which raw images need and compressed ones do not.
        values.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    return values


def tell(
    screen: Screen, material: Material, questions: tuple[DemoQuestion, ...], folder: Path
) -> Record:
    """Run the demonstration; returns what happened.

    folder: where logs go. Raises VilaError when a process dies or nothing arrives.
    """
    _introduce(screen, material)
    os.environ.update(environment(material))
    record = Record({truth.stamp_ns: truth for truth in material.truths})
    with ExitStack() as running:
        node = running.enter_context(
            Child("node", _node_arguments(material, folder), folder / "node.log", os.environ)
        )
        client = running.enter_context(Client())
        _await_engine(screen, client, node, material)
        player = running.enter_context(
            Child("player", _player_arguments(material), folder / "player.log", os.environ)
        )
        show = _Show(screen, client, (node, player), material, record)
        show.await_frames()
        for number, question in enumerate(questions):
            if question.end_ns:
                show.watch_until_seen(question.end_ns)
            else:
                # Spread over the drive, so that they are about different moments.
                show.watch_until(number * material.seconds / (len(questions) + 1))
            show.ask(question)
        show.watch_until(material.seconds, while_playing=True)
        screen.line()
        screen.title("/diagnostics")
        screen.diagnostics(record.diagnostics)
    _conclude(screen, material, record)
    return record


class _Show:
    """What happens while the recording plays, noted in the record. Times: since it plays."""

    def __init__(
        self,
        screen: Screen,
        client: Client,
        children: tuple[Child, Child],
        material: Material,
        record: Record,
    ) -> None:
        self._screen = screen
        self._client = client
        self._node, self._player = children
        self._material = material
        self._record = record
        self._deadline = _DEADLINE[material.embedded]
        self._began = time.monotonic()

    def await_frames(self) -> None:
        """Until the node has frames to be asked about."""
        until = time.monotonic() + _STILL
        wanted = min(_FRAMES_BEFORE_ASKING, len(self._material.frames))
        seen = 0
        while (held := self._held()) < wanted:
            if held > seen:
                seen, until = held, time.monotonic() + _STILL
            elif time.monotonic() > until:
                camera = self._material.cameras[0].name
                said = self._client.part(f"cameras/{camera}").message
                raise EngineDown(f"No frame reaches the node: {said or 'it reports nothing'}.")
            self._take(0.1)
        self._began = time.monotonic()

    def _held(self) -> int:
        return max(int(value or 0) for value in self._values("frames held"))

    def _values(self, key: str) -> list[str]:
        """What the node reports of each camera."""
        parts = [self._client.part(f"cameras/{each.name}") for each in self._material.cameras]
        return [part.values.get(key, "") for part in parts]

    def watch_until(self, seconds: float, while_playing: bool = False) -> None:
        """Print scene descriptions until then, or until the recording has ended."""
        while (left := self._began + seconds - time.monotonic()) > 0:
            if while_playing and self._player.status is not None:
                break
            self._show_progress()
            self._take(min(left, 0.2))
        self._screen.live("")

    def watch_until_seen(self, stamp_ns: int) -> None:
        """Print scene descriptions until a camera of the node has a frame of that stamp or later.

        Once the recording has ended none will come: the question then says so itself.
        """
        while all(_stamp(value) < stamp_ns for value in self._values("newest stamp")):
            if self._player.status is not None:
                break
            self._show_progress()
            self._take(0.1)
        self._screen.live("")

    def _show_progress(self) -> None:
        seconds, record = self._material.seconds, self._record
        now = min(time.monotonic() - self._began, seconds)
        score = f", {record.right} of {record.known} right" if record.known else ""
        text = f"{now:4.1f} of {seconds:.1f} s, {len(record.answered)} answered{score}"
        self._screen.bar(now / max(seconds, 1e-6), text)

    def ask(self, question: DemoQuestion) -> None:
        """Put a question and show its answer."""
        self._screen.question(question)
        self._client.ask(question, self._deadline)
        until = time.monotonic() + self._deadline + 10.0
        while True:
            event = self._take(0.1)
            if isinstance(event, Feedback):
                self._screen.progress(event.stage, event.text)
            elif isinstance(event, Outcome):
                found = faults(question, event.result, self._material)
                self._screen.outcome(self._record.add_answer(question, event.result, found))
                return
            elif time.monotonic() > until:
                raise DeadlineExceeded(f"The node did not answer within {self._deadline:g} s.")

    def _take(self, seconds: float) -> Event | None:
        """The next event, with scene descriptions printed; checks that the processes live."""
        _check(self._node)
        if self._player.status is None:
            self._record.diagnostics = list(self._client.parts.values())
        elif self._player.status:
            _check(self._player)
        event = self._client.next_event(seconds)
        if isinstance(event, SceneDescription):
            self._screen.scene(self._record.add_description(event))
        return event


def _stamp(value: str) -> int:
    """A stamp as /diagnostics has it, in nanoseconds; 0 before there is one."""
    seconds, _, rest = value.partition(".")
    return int(seconds) * 10**9 + int(rest) if rest else 0


def _introduce(screen: Screen, material: Material) -> None:
    recording = material.recording
    screen.title("VILA on ROS 2: a recording, a node, questions")
    what = str(recording.path)
    if material.seed is not None:
        what = f"a drive simulated for this demonstration, seed {material.seed}"
    screen.entry("recording", f"{what}, {material.seconds:.1f} s are played")
    for warning in recording.warnings:
        screen.entry("", warning, "33")
    for number, camera in enumerate(material.cameras):
        count = sum(name == camera.name for name, _ in material.frames)
        label = "" if number else "cameras"
        screen.entry(label, f"{camera.name:8} {camera.topic}, {count} frames")
    screen.entry("model", material.model)
    if material.embedded:
        screen.entry("", EMBEDDED_NOTE, "33")


def _node_arguments(material: Material, folder: Path) -> list[str]:
    description: dict[str, object] = {
        "rate": 0.5, "window": 2.0, "max_frames": 2, "max_tokens": 32,
    }  # fmt: skip
    if material.truths:
        description |= {"prompt": "What happens?", "window": 3.2, "max_frames": CLIP_FRAMES}
        description |= {"max_tokens": 64}
    parameters = {
        "/**": {
            "ros__parameters": {
                "description": description,
                "diagnostics": {"period": 0.25},
                "query": {"max_deadline": _DEADLINE[material.embedded]},
                # A slow model asks about what was seen a while ago.
                "buffer": {"seconds": material.seconds + 60.0},
            }
        }
    }
    file = folder / "parameters.yaml"
    file.write_text(json.dumps(parameters))  # JSON is YAML
    arguments = ["serve", "--model", material.model, "--params-file", str(file)]
    for camera in material.cameras:
        arguments += ["--camera", camera.argument]
    return arguments


def _player_arguments(material: Material) -> list[str]:
    topics = [camera.topic for camera in material.cameras]
    recording = str(material.recording.path.absolute())
    seconds = str(material.seconds)
    return ["play", recording, "--duration", seconds, "--wait", "60", "--topics", *topics]


def _await_engine(screen: Screen, client: Client, node: Child, material: Material) -> None:
    """Wait until the model is loaded and the node's action and service are there."""
    began = time.monotonic()
    limit = _LOAD_LIMIT[material.embedded]
    while True:
        _check(node)
        waited = time.monotonic() - began
        engine = client.part("engine")
        if failed := engine_failure(engine):
            raise failed
        if engine.values.get("state") == "READY" and client.servers_ready:
            break
        if waited > limit:
            raise EngineDown(
                f"The node was not ready in {limit:g} s; it says: {engine.message or 'nothing'}."
            )
        screen.live(f"  {waited:5.1f} s  {engine.message or 'the node starts'}")
        client.next_event(0.1)
    screen.live("")
    values = engine.values
    screen.entry(
        "node",
        f"process {node.pid}, engine {values['runtime']} on {values['device']} in process "
        f"{values['worker process']}, ready after {waited:.1f} s",
    )


def _check(child: Child) -> None:
    """Raise ChildDied, with the end of its output, if a process has ended."""
    if child.status is not None:
        raise ChildDied(f"The {child.name} ended with status {child.status}:\n{child.tail()}")


def _conclude(screen: Screen, material: Material, record: Record) -> None:
    screen.line()
    good = record.sound == len(record.answered)
    screen.line(screen.color(verdict(record), "1;32" if good else "1;31"))
    if record.known:
        text = f"  {record.right} of {record.known} answers say what is true of this drive"
        screen.line(screen.color(text, "1"))
    if material.embedded:
        screen.line("  Your own: make demo MODEL=<VILA checkpoint> BAG=<recording>; see README.md")
