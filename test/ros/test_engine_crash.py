# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The worker process dies in the middle of an answer: its question ends, the node goes on."""

import os
import signal

import pytest
from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticStatus

from vila_ros.errors import ErrorCode


@pytest.fixture(scope="module")
def node(robot):
    node = robot.start_node(
        {
            "engine.runtime": "test.doubles:CrashingEngine",
            "engine.options": '{"delay": 0.02}',
            "query.max_tokens": 10,
        }
    )
    robot.activate()
    return node


def test_kill_9_ends_the_question_with_its_code_and_the_next_succeeds(robot, node):
    goal = robot.ask(prompt="word " * 1000, sampling=4, max_tokens=1000)
    robot.wait_for(lambda: any(each.text for each in goal.feedback), "text")
    os.kill(int(robot.value("engine", "worker process")), signal.SIGKILL)
    status, result = goal.result()
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, ErrorCode.ENGINE_DOWN)
    assert result.text.startswith("word")
    assert node.alive
    robot.wait_for_engine("READY")
    assert robot.query(prompt="still here", sampling=4).text == "still here"
    assert robot.value("engine", "restarts") == "1"


def test_an_abort_of_the_runtime_is_an_error_on_diagnostics_until_it_is_back(robot, node):
    _, result = robot.ask(prompt="one two !abort three", sampling=4).result()
    assert result.error_code == ErrorCode.ENGINE_DOWN
    assert result.text.startswith("one two")
    robot.wait_for(
        lambda: robot.value("engine", "last error") not in (None, "none"), "the reason is said"
    )
    robot.wait_for_engine("READY")
    assert robot.diagnostic("engine").level == DiagnosticStatus.OK
    assert robot.query(prompt="still here", sampling=4).text == "still here"


def test_a_defect_of_the_runtime_fails_its_question_alone(robot, node):
    _, result = robot.ask(prompt="one !raise", sampling=4).result()
    assert result.error_code == ErrorCode.ENGINE_FAILED
    assert robot.query(prompt="still here", sampling=4).text == "still here"
    assert node.alive
