# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the action ~/ask and the service ~/query add to calling the engine directly.

The same engine, which echoes the prompt, runs twice in supervised worker processes: called directly
in this process, and by the node in a process of its own. The three ways are taken in turn, so that
all see the same machine, and each time is compared with the direct one just before it.

Beside them, rclpy alone: a server of the same types, alone in its node, that answers at once and
does nothing. What it takes is the part that the node cannot save.

Run from the repository's root: python benchmarks/query_overhead.py. The last line is JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import rclpy
from rclpy.action import ActionClient, ActionServer
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.task import Future

from vila_ros.action import Ask
from vila_ros.engine.interface import EngineSpec, GenerationRequest, Message, TextPart
from vila_ros.engine.supervisor import SupervisedEngine
from vila_ros.srv import Query

ROOT = Path(__file__).resolve().parent.parent
ENGINE = "test.doubles:EchoEngine"
PROMPT = " ".join(["word"] * 20)
WARM_UP = 20
# Between requests: a planner's are not back to back, and an action server reports on all goals of
# the last seconds in every status message.
PAUSE = 0.05
LIMITS = {"median": 5.0, "p99": 20.0}
TIMEOUT = 60.0


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


class Client:
    """Asks a node, and times it."""

    def __init__(self, server: str) -> None:
        self.node = rclpy.create_node(
            f"client_of_{server}", start_parameter_services=False, enable_rosout=False
        )
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.query = self.node.create_client(Query, f"/{server}/query")
        self.ask = ActionClient(self.node, Ask, f"/{server}/ask")

    def complete(self, future: Future) -> object:
        """What the future brings."""
        self.executor.spin_until_future_complete(future, TIMEOUT)
        if not future.done():
            raise TimeoutError("the node does not answer")
        return future.result()

    def wait(self) -> None:
        """Wait until the node answers."""
        if not self.query.wait_for_service(TIMEOUT) or not self.ask.wait_for_server(TIMEOUT):
            raise TimeoutError("the node is not there")
        begin = time.monotonic()
        while self.complete(
            self.query.call_async(Query.Request(prompt="x", sampling=4))
        ).error_code:
            if time.monotonic() - begin > TIMEOUT:
                raise TimeoutError("the engine does not get ready")
            time.sleep(0.1)

    def by_service(self) -> None:
        """One question through the service."""
        answer = self.complete(self.query.call_async(Query.Request(prompt=PROMPT, sampling=4)))
        assert answer.text == PROMPT, answer.error_message

    def by_action(self) -> None:
        """One question through the action, to its result."""
        goal = self.complete(self.ask.send_goal_async(Ask.Goal(prompt=PROMPT, sampling=4)))
        answer = self.complete(goal.get_result_async()).result
        assert answer.text == PROMPT, answer.error_message


def serve_nothing() -> None:
    """Rclpy alone: echoes the prompt, until it is told to end."""
    rclpy.init()
    node = rclpy.create_node("bare", start_parameter_services=False, enable_rosout=False)

    def answer(request: Query.Request, response: Query.Response) -> Query.Response:
        response.text = request.prompt
        return response

    async def achieve(goal: object) -> Ask.Result:
        goal.succeed()
        return Ask.Result(text=goal.request.prompt)

    node.create_service(Query, "~/query", answer)
    ActionServer(node, Ask, "~/ask", achieve, result_timeout=5)
    with contextlib.suppress(ExternalShutdownException, KeyboardInterrupt):
        rclpy.spin(node)


class Direct:
    """Asks the engine, as the node's Perceiver does."""

    def __init__(self) -> None:
        self.engine = SupervisedEngine(EngineSpec(ENGINE, "echo"))
        self.engine.load()
        self.number = 0

    def __call__(self) -> None:
        """One question to the engine."""
        self.number += 1
        message = Message("user", (TextPart(PROMPT),))
        request = GenerationRequest(f"direct-{self.number}", (message,))
        text = "".join(chunk.text for chunk in self.engine.generate(request))
        assert text == PROMPT


def milliseconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--serve-nothing", action="store_true", help="be the server of rclpy alone")
    options = parser.parse_args()
    if options.serve_nothing:
        serve_nothing()
        return 0
    os.environ["ROS_DOMAIN_ID"] = str(os.getpid() % 100 + 1)
    parameters = ("autostart:=true", f"engine.runtime:={ENGINE}", "engine.model:=echo")
    command = [sys.executable, "-m", "vila_ros.nodes.vila_node", "--ros-args"]
    for each in (*parameters, 'cameras:=[""]'):
        command += ["-p", each]
    node = subprocess.Popen([*command, "--log-level", "warn"], cwd=ROOT)
    bare = subprocess.Popen([sys.executable, __file__, "--serve-nothing"], cwd=ROOT)
    direct = Direct()
    try:
        rclpy.init()
        client, bare_client = Client("vila"), Client("bare")
        client.wait()
        bare_client.wait()
        ways = {
            "direct": direct,
            "service": client.by_service,
            "action": client.by_action,
            "bare_service": bare_client.by_service,
            "bare_action": bare_client.by_action,
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(options.repeats + WARM_UP):
            for name, work in ways.items():
                time.sleep(PAUSE)
                taken = milliseconds(work)
                if number >= WARM_UP:
                    times[name].append(taken)
    finally:
        direct.engine.close()
        for process in (node, bare):
            process.terminate()
            process.wait(TIMEOUT)
    return report(times)


def report(times: dict[str, list[float]]) -> int:
    figures: dict[str, float] = {
        f"{name}_ms_{what}": round(of(values), 3)
        for name, values in times.items()
        for what, of in (("median", statistics.median), ("p99", p99))
    }
    ok = True
    for name in ("service", "action"):
        added = [mine - direct for mine, direct in zip(times[name], times["direct"], strict=True)]
        for what, of in (("median", statistics.median), ("p99", p99)):
            figures[f"{name}_added_ms_{what}"] = round(of(added), 3)
            ok = ok and of(added) <= LIMITS[what]
        ratio = statistics.median(times[name]) / statistics.median(times["direct"])
        figures[f"{name}_over_direct"] = round(ratio, 2)
        bare = [
            mine - floor for mine, floor in zip(times[name], times[f"bare_{name}"], strict=True)
        ]
        figures[f"{name}_added_to_bare_ms_median"] = round(statistics.median(bare), 3)
    for name, value in figures.items():
        print(f"{name.replace('_', ' ')}: {value}")
    target = "added to the direct call: at most 5 ms at the median, 20 ms at the 99th percentile"
    print(json.dumps({"name": "query_overhead", "figures": figures, "target": target, "ok": ok}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
