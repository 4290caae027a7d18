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
from vila_ros.nodes.demo.client import Client, Event, Feedback, Outcome, Part, engine_failure
from vila_ros.nodes.demo.material import Material
from vila_ros.nodes.demo.processes import Child
from vila_ros.nodes.demo.questions import DemoQuestion, faults
from vila_ros.nodes.demo.screen import Screen
from vila_ros.perception.types import MessageKind

_NOISE = (
    "tiny, with random weights: everything it says is NOISE. It shows that the machinery works; a "
    "robot uses a released VILA checkpoint: make demo MODEL=Efficient-Large-Model/VILA1.5-3b"
)
# A model with random weights is small and answers at once; a real one may run on a CPU here.
_LOAD_LIMIT = {True: 180.0, False: 3600.0}
_DEADLINE = {True: 30.0, False: 600.0}
_FRAMES_BEFORE_ASKING = 8
_STILL = 10.0  # seconds without a frame after which something is wrong


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


def tell(material: Material, questions: tuple[DemoQuestion, ...], folder: Path) -> bool:
    """Run the demonstration; True if every question ended as it should.

    folder: where logs go. Raises VilaError when a process dies or nothing arrives.
    """
    screen = Screen()
    _introduce(screen, material)
    os.environ.update(environment(material))
    with ExitStack() as running:
        node = running.enter_context(
            Child("node", _node_arguments(material, folder), folder / "node.log", os.environ)
        )
        client = running.enter_context(Client())
        _await_engine(screen, client, node, material)
        player = running.enter_context(
            Child("player", _player_arguments(material), folder / "player.log", os.environ)
        )
        show = _Show(screen, client, (node, player), material)
        show.await_frames()
        # Spread over the drive, so that they are about different moments.
        began = time.monotonic()
        right = 0
        for number, question in enumerate(questions):
            show.watch_until(began + number * material.seconds / (len(questions) + 1))
            right += show.ask(question)
        show.watch_until(began + material.seconds, while_playing=True)
        screen.line()
        screen.title("/diagnostics")
        screen.diagnostics(show.diagnostics)
    _conclude(screen, material, right, len(questions))
    return right == len(questions)


class _Show:
    """What happens while the recording plays. diagnostics: the newest ones from that time."""

    def __init__(
        self, screen: Screen, client: Client, children: tuple[Child, Child], material: Material
    ) -> None:
        self._screen = screen
        self._client = client
        self._node, self._player = children
        self._material = material
        self._deadline = _DEADLINE[material.random]
        self.diagnostics: list[Part] = []

    def await_frames(self) -> None:
        """Until the node has frames to be asked about."""
        until = time.monotonic() + _STILL
        wanted = min(_FRAMES_BEFORE_ASKING, len(self._material.frames))
        while self._held() < wanted:
            if time.monotonic() > until:
                camera = self._material.cameras[0].name
                said = self._client.part(f"cameras/{camera}").message
                raise EngineDown(f"No frame reaches the node: {said or 'it reports nothing'}.")
            self._take(0.1)

    def _held(self) -> int:
        parts = (self._client.part(f"cameras/{each.name}") for each in self._material.cameras)
        return max(int(part.values.get("frames held", 0)) for part in parts)

    def watch_until(self, when: float, while_playing: bool = False) -> None:
        """Print scene descriptions until then, or until the recording has ended."""
        while (left := when - time.monotonic()) > 0:
            if while_playing and self._player.status is not None:
                break
            self._screen.live(f"  playing, {left:4.1f} s left, {self._held()} frames in the node")
            self._take(min(left, 0.2))
        self._screen.live("")

    def ask(self, question: DemoQuestion) -> bool:
        """Put a question and show its answer; True if it is right about its frames."""
        self._screen.question(question)
        self._client.ask(question, self._deadline)
        until = time.monotonic() + self._deadline + 10.0
        while True:
            event = self._take(0.1)
            if isinstance(event, Feedback):
                self._screen.progress(event.stage, event.text)
            elif isinstance(event, Outcome):
                found = faults(question, event.result, self._material)
                self._screen.outcome(question, event.result, found)
                return not found
            elif time.monotonic() > until:
                raise DeadlineExceeded(f"The node did not answer within {self._deadline:g} s.")

    def _take(self, seconds: float) -> Event | None:
        """The next event, with scene descriptions printed; checks that the processes live."""
        _check(self._node)
        if self._player.status is None:
            self.diagnostics = list(self._client.parts.values())
        elif self._player.status:
            _check(self._player)
        event = self._client.next_event(seconds)
        if isinstance(event, SceneDescription):
            self._screen.scene(event)
        return event


def _introduce(screen: Screen, material: Material) -> None:
    recording = material.recording
    screen.title("VILA on ROS 2: a recording, a node, questions")
    drawn = "drawn for this demonstration" if material.drawn else str(recording.path)
    screen.entry("recording", f"{drawn}, {material.seconds:.1f} s are played")
    for warning in recording.warnings:
        screen.entry("", warning, "33")
    for number, camera in enumerate(material.cameras):
        count = sum(name == camera.name for name, _ in material.frames)
        label = "" if number else "cameras"
        screen.entry(label, f"{camera.name:8} {camera.topic}, {count} frames")
    if material.random:
        screen.entry("model", _NOISE, "33")
    else:
        screen.entry("model", material.model)


def _node_arguments(material: Material, folder: Path) -> list[str]:
    parameters = {
        "/**": {
            "ros__parameters": {
                "description": {"rate": 0.5, "window": 2.0, "max_frames": 2, "max_tokens": 32},
                "diagnostics": {"period": 0.25},
                "query": {"max_deadline": _DEADLINE[material.random]},
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
    return ["play", recording, "--duration", seconds, "--wait", "20", "--topics", *topics]


def _await_engine(screen: Screen, client: Client, node: Child, material: Material) -> None:
    """Wait until the model is loaded and the node's action and service are there."""
    began = time.monotonic()
    limit = _LOAD_LIMIT[material.random]
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


def _conclude(screen: Screen, material: Material, right: int, asked: int) -> None:
    screen.line()
    if right == asked:
        verdict = (
            f"✓ {right} of {asked} questions ended as they should, with frames of the recording"
        )
        screen.line(screen.color(verdict, "1;32"))
    else:
        verdict = f"✗ {asked - right} of {asked} questions did not end as they should, see above"
        screen.line(screen.color(verdict, "1;31"))
    if material.random:
        screen.line("  The model has random weights, so what it said was noise. See README.md for")
        screen.line("  real ones: make demo MODEL=<VILA checkpoint> BAG=<recording>")
