# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every transition of the node's lifecycle, what it leaves behind, and how the process ends."""

import os
import signal
from pathlib import Path

import pytest

from vila_ros.errors import ErrorCode


@pytest.fixture(scope="module")
def node(robot):
    return robot.start_node()


@pytest.fixture
def unconfigured(robot, node):
    """The node, unconfigured before and after."""
    yield robot
    for name in ("deactivate", "cleanup"):
        if robot.state() != "unconfigured":
            robot.transition(name)
    robot.set_parameters(
        engine__runtime="test.doubles:EchoEngine",
        engine__options="{}",
        engine__model="echo",
        cameras=[""],
    )
    assert robot.state() == "unconfigured"


def worker_of(robot):
    return int(robot.value("engine", "worker process"))


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_transitions_lead_through_all_states_and_back(unconfigured):
    robot = unconfigured
    for name, state in (
        ("configure", "inactive"),
        ("activate", "active"),
        ("deactivate", "inactive"),
        ("activate", "active"),
        ("deactivate", "inactive"),
        ("cleanup", "unconfigured"),
    ):
        assert robot.transition(name)
        assert robot.state() == state


def test_a_transition_that_the_state_does_not_have_is_refused(unconfigured):
    robot = unconfigured
    assert not robot.transition("activate")
    assert robot.state() == "unconfigured"


def test_cleanup_ends_the_workers_process(unconfigured):
    robot = unconfigured
    robot.activate()
    worker = worker_of(robot)
    assert robot.transition("deactivate")
    assert not is_gone(worker), "the model stays loaded while inactive"
    assert robot.transition("cleanup")
    assert is_gone(worker)


def test_cycles_leave_no_threads_files_or_processes_behind(unconfigured, node):
    robot, held = unconfigured, []
    robot.set_parameters(cameras=["front", "rear"])
    for _ in range(4):
        robot.activate()
        assert robot.query(prompt="one two", sampling=4).error_code == ErrorCode.NONE
        robot.transition("deactivate")
        robot.transition("cleanup")
        proc = Path(f"/proc/{node.process.pid}")
        children = (proc / "task" / proc.name / "children").read_text().split()
        held.append((len(list((proc / "task").iterdir())), len(list((proc / "fd").iterdir()))))
        assert children == []
    assert held[-1] == held[1], "the first cycle may load what stays"


def test_configures_anew_with_other_parameters(unconfigured):
    robot = unconfigured
    robot.activate()
    assert robot.query(prompt="one two", sampling=4).stats.model == "echo"
    robot.transition("deactivate")
    robot.transition("cleanup")
    assert robot.set_parameters(engine__model="another") == ""
    robot.activate()
    assert robot.query(prompt="one two", sampling=4).stats.model == "another"


def test_configure_fails_with_a_reason_when_no_model_is_named(unconfigured, node):
    robot = unconfigured
    assert robot.set_parameters(engine__model="") == ""
    assert not robot.transition("configure")
    assert robot.state() == "unconfigured"
    assert "on_configure failed: engine.model is empty" in node.log


@pytest.mark.parametrize(
    ("topic", "says"),
    [("/front/an image", "must not contain characters"), ("/front/1st", "must not start with")],
)
def test_configure_fails_with_a_reason_for_a_topic_that_ros_refuses(
    unconfigured, node, topic, says
):
    robot = unconfigured
    robot.set_parameters(cameras=["front"])
    assert robot.set_parameters(camera__front__topic=topic) == ""
    assert not robot.transition("configure")
    assert f"on_configure failed: camera.front.topic is '{topic}': " in node.log
    assert says in node.log


def test_activate_fails_with_a_reason_when_the_engine_cannot_load(unconfigured, node):
    robot = unconfigured
    robot.set_parameters(
        engine__runtime="test.doubles:CrashingEngine",
        engine__options='{"load_needs": "/nowhere/weights"}',
    )
    assert robot.transition("configure")
    robot.wait_for_engine("FAILED")
    assert not robot.transition("activate")
    assert robot.state() == "inactive"
    assert "/nowhere/weights does not exist" in node.log
    assert "/nowhere/weights" in robot.fresh_diagnostic("engine").message


def test_unknown_runtime_fails_the_activation_with_the_known_ones(unconfigured, node):
    robot = unconfigured
    robot.set_parameters(engine__runtime="steam")
    assert robot.transition("configure")
    robot.wait_for_engine("FAILED")
    assert not robot.transition("activate")
    assert "'steam' is not known" in node.log


def test_questions_before_activation_and_after_deactivation_are_not_active(unconfigured):
    robot = unconfigured
    assert robot.query(prompt="hello").error_code == ErrorCode.NOT_ACTIVE
    robot.activate()
    assert robot.query(prompt="hello", sampling=4).error_code == ErrorCode.NONE
    robot.transition("deactivate")
    outcome = robot.query(prompt="hello")
    assert outcome.error_code == ErrorCode.NOT_ACTIVE
    assert "configure and activate" in outcome.error_message


def test_deactivation_ends_a_question_on_its_way(unconfigured):
    robot = unconfigured
    robot.set_parameters(engine__options='{"delay": 0.2}')
    robot.activate()
    goal = robot.ask(prompt="word " * 500, sampling=4, max_tokens=500)
    robot.wait_for(lambda: any(each.text for each in goal.feedback), "text")
    assert robot.transition("deactivate")
    _, result = goal.result()
    assert result.error_code == ErrorCode.NOT_ACTIVE
    assert "deactivated" in result.error_message
    assert result.text.startswith("word")


def test_a_question_while_the_model_loads_says_so(unconfigured):
    robot = unconfigured
    robot.set_parameters(engine__options='{"load_time": 60}')
    assert robot.transition("configure")
    assert robot.transition("activate")
    outcome = robot.query(prompt="hello", sampling=4)
    assert outcome.error_code == ErrorCode.ENGINE_DOWN
    robot.wait_for_engine("STARTING")


@pytest.mark.parametrize("state", ["unconfigured", "inactive", "active"])
def test_shutdown_from_every_state_ends_the_worker(robot, node, state):
    other = node
    other.stop()
    fresh = robot.start_node()
    try:
        worker = None
        if state != "unconfigured":
            robot.transition("configure")
            robot.wait_for_engine("READY")
            worker = worker_of(robot)
        if state == "active":
            robot.transition("activate")
        assert robot.transition(f"shutdown from {state}")
        assert robot.state() == "finalized"
        assert worker is None or is_gone(worker)
    finally:
        assert fresh.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_an_active_node_and_its_worker(robot, node, number):
    node.stop()
    fresh = robot.start_node()
    robot.activate()
    worker = worker_of(robot)
    assert fresh.stop(number) == 0, fresh.log
    assert is_gone(worker)
    assert "Traceback" not in fresh.log


def test_a_bad_parameter_at_start_is_one_line_and_exit_status_1(robot):
    fresh = robot.start_node({"question.sampling": "random"})
    assert fresh.ended() == 1
    assert "question.sampling is 'random'; it must be one of latest" in fresh.log
    assert "Traceback" not in fresh.log
    wrong_type = robot.start_node({"buffer.seconds": 10})
    assert wrong_type.ended() == 1
    assert "buffer.seconds must be a float" in wrong_type.log


def test_activate_fails_with_a_reason_for_a_qos_override_that_ros_does_not_know(robot, node):
    node.stop()
    fresh = robot.start_node(
        {
            "cameras": ["front"],
            "camera.front.topic": "/f",
            "qos_overrides./f.subscription.reliability": "sometimes",
        }
    )
    assert robot.transition("configure")
    assert not robot.transition("activate")
    assert robot.state() == "inactive"
    assert "on_activate failed: Camera front cannot subscribe to /f" in fresh.log
    assert "sometimes" in fresh.log
    assert fresh.stop() == 0
