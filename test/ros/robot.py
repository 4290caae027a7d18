# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A small robot: the node in its process, a camera in another, and a client in the test's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParametersAtomically
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter, parameter_value_to_python

from vila_ros.action import Ask
from vila_ros.msg import SceneDescription
from vila_ros.srv import Query

ROOT = Path(__file__).resolve().parents[2]
# Ends a broken run; a busy machine may take half a minute to import torch.
TIMEOUT = 120.0

TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
    "shutdown from unconfigured": Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
    "shutdown from inactive": Transition.TRANSITION_INACTIVE_SHUTDOWN,
    "shutdown from active": Transition.TRANSITION_ACTIVE_SHUTDOWN,
}

ECHO = {
    "engine.runtime": "test.doubles:EchoEngine",
    "engine.model": "echo",
    "cameras": [""],
    "diagnostics.period": 0.1,
    "diagnostics.camera_timeout": 0.5,
}


class NodeProcess:
    """The perception node as a process; its log is a file."""

    def __init__(self, parameters, environment, command=None, name="vila"):
        self.stopped = False
        self.log_file = tempfile.NamedTemporaryFile("w+", suffix=".log")  # noqa: SIM115
        if command is None:
            command = ["-m", "vila_ros.nodes.vila_node", "--ros-args", "-r", f"__node:={name}"]
            for key, value in parameters.items():
                command += ["-p", f"{key}:={json.dumps(value)}"]
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log_file,
            stderr=self.log_file,
        )

    @property
    def log(self):
        return Path(self.log_file.name).read_text()

    @property
    def alive(self):
        return self.process.poll() is None

    def ended(self):
        """Wait until it ends by itself; returns its exit status."""
        self.stopped = True
        return self.process.wait(TIMEOUT)

    def stop(self, number=signal.SIGINT):
        """End it; returns its exit status."""
        self.stopped = True
        if self.alive:
            self.process.send_signal(number)
        try:
            return self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


class CameraProcess:
    """The process of camera_publisher.py; do("image", topic=…) calls one of its methods."""

    def __init__(self, environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "test.ros.camera_publisher"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, command, **arguments):
        self.process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["ok"]

    def stop(self):
        self.process.stdin.close()
        self.process.wait(TIMEOUT)
        self.process.stdout.close()


class Goal:
    """A goal on its way."""

    def __init__(self, robot, fields):
        self.robot = robot
        self.feedback = []
        sent = robot.ask_client.send_goal_async(
            Ask.Goal(**fields), feedback_callback=lambda each: self.feedback.append(each.feedback)
        )
        self.handle = robot.complete(sent)
        self.future = self.handle.get_result_async() if self.handle.accepted else None

    def cancel(self):
        """How many goals the node agreed to cancel."""
        return len(self.robot.complete(self.handle.cancel_goal_async()).goals_canceling)

    def result(self):
        """(status, result)"""
        done = self.robot.complete(self.future)
        return done.status, done.result


class Robot:
    """Processes and clients in one ROS domain of their own. Waits are bounded by TIMEOUT."""

    def __init__(self, domain):
        self.environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "PYTHONUNBUFFERED": "1",
        }
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("test_client", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.processes = []
        self.clients = {}
        self.statuses = {}
        self.descriptions = []
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._note, 50)
        self.node.create_subscription(
            SceneDescription, "/vila/scene_description", self.descriptions.append, 50
        )
        self.ask_client = ActionClient(self.node, Ask, "/vila/ask")

    def close(self):
        for process in reversed(self.processes):
            process.stop()
        self.ask_client.destroy()
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def start_node(self, parameters=None, **options):
        node = NodeProcess({**ECHO, **(parameters or {})}, self.environment, **options)
        self.processes.append(node)
        return node

    def start_camera(self):
        camera = CameraProcess(self.environment)
        self.processes.append(camera)
        return camera

    def wait_for(self, condition, says=""):
        """Spin until condition() is true, and return what it returned."""
        end = time.monotonic() + TIMEOUT
        while not (value := condition()):
            nodes = [each for each in self.processes if isinstance(each, NodeProcess)]
            died = [each for each in nodes if not each.alive and not each.stopped]
            if died or time.monotonic() > end:
                why = "a node died" if died else f"not within {TIMEOUT} s"
                logs = "".join(each.log for each in nodes)[-4000:]
                statuses = "\n".join(f"{k}: {v.message}" for k, v in self.statuses.items())
                raise AssertionError(f"{why}: {says}\n{statuses}\n{logs}")
            self.executor.spin_once(timeout_sec=0.05)
        return value

    def complete(self, future):
        self.wait_for(future.done, "an answer")
        return future.result()

    def call(self, kind, name, request):
        if name not in self.clients:
            self.clients[name] = self.node.create_client(kind, name)
        client = self.clients[name]
        self.wait_for(client.service_is_ready, f"{name} is there")
        return self.complete(client.call_async(request))

    def transition(self, name):
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[name]))
        return self.call(ChangeState, "/vila/change_state", request).success

    def state(self):
        return self.call(GetState, "/vila/get_state", GetState.Request()).current_state.label

    def activate(self):
        """Configure if need be, activate, and wait until the engine is ready."""
        assert self.state() == "inactive" or self.transition("configure")
        assert self.transition("activate")
        self.wait_for_engine("READY")

    def wait_for_engine(self, state):
        self.fresh_diagnostic("engine")
        self.wait_for(lambda: self.value("engine", "state") == state, f"the engine is {state}")

    def query(self, **fields):
        return self.call(Query, "/vila/query", Query.Request(**fields))

    def ask(self, **fields):
        self.wait_for(self.ask_client.server_is_ready, "the action is there")
        return Goal(self, fields)

    def set_parameters(self, **values):
        """Set them together (. written as __); returns the refusal's reason, or an empty text."""
        request = SetParametersAtomically.Request(
            parameters=[
                Parameter(name.replace("__", "."), value=value).to_parameter_msg()
                for name, value in values.items()
            ]
        )
        result = self.call(
            SetParametersAtomically, "/vila/set_parameters_atomically", request
        ).result
        assert result.successful == (not result.reason)
        return result.reason

    def get_parameter(self, name):
        request = GetParameters.Request(names=[name])
        [value] = self.call(GetParameters, "/vila/get_parameters", request).values
        return parameter_value_to_python(value)

    def describe_parameter(self, name):
        request = DescribeParameters.Request(names=[name])
        [found] = self.call(DescribeParameters, "/vila/describe_parameters", request).descriptors
        return found

    def diagnostic(self, part):
        """The newest status of a part, or None."""
        return self.statuses.get(f"vila: {part}")

    def value(self, part, key):
        status = self.diagnostic(part)
        return None if status is None else {each.key: each.value for each in status.values}.get(key)

    def fresh_diagnostic(self, part):
        """A status that was made after this call began."""
        self.statuses.clear()
        self.wait_for(lambda: self.diagnostic(part), f"diagnostics of {part}")
        self.statuses.clear()
        return self.wait_for(lambda: self.diagnostic(part), f"diagnostics of {part}")

    def wait_for_frames(self, camera, count, key="received"):
        self.wait_for(
            lambda: int(self.value(f"cameras/{camera}", key) or 0) >= count,
            f"{count} frames {key} of {camera}",
        )

    def link(self, publisher, topic, camera, command="image"):
        """Wait until the node's camera hears what the publisher sends.

        The node learns of a publisher by itself, later than the publisher of the node; what is sent
        best effort before is lost. So images are sent until it has counted one. They have no stamp,
        for which it drops them.
        """
        publisher.do("matched", topic=topic)
        part = f"cameras/{camera}"
        self.fresh_diagnostic(part)
        before = int(self.value(part, "received"))

        def is_heard():
            publisher.do(command, topic=topic, stamp_ns=0)
            return int(self.value(part, "received")) > before

        self.wait_for(is_heard, f"{camera} is heard")
        # The last ones are still on their way, and would be counted as what a test sends.
        self.wait_for(lambda: self._is_quiet(part), f"{camera} is quiet")

    def _is_quiet(self, part):
        counts = []
        for _ in range(2):
            self.fresh_diagnostic(part)
            counts.append(self.value(part, "received"))
        return counts[0] == counts[1]

    def _note(self, message):
        for status in message.status:
            self.statuses[status.name] = status
