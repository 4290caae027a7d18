# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a question sees depends on the recording alone, and is what the robot would have seen."""

from __future__ import annotations

import pytest

from test.bags.conftest import CAMERA, START_NS, drive
from test.doubles import EchoEngine
from vila_ros.bags.recorded_cameras import recorded_cameras
from vila_ros.bags.recording import open_recording
from vila_ros.bags.replay import Asking, Replay, ask_along, moments
from vila_ros.errors import InvalidRequest
from vila_ros.perception.perceiver import Perceiver
from vila_ros.perception.types import Question

SECOND = 10**9


def replay_of(path, seconds: float = 1.0) -> Replay:
    recording = open_recording(path)
    return Replay(recording, recorded_cameras(recording), seconds)


def ask(replay, askings, **options):
    engine = EchoEngine("echo")
    engine.load()
    perceiver = Perceiver(replay.buffers, engine)
    try:
        return list(ask_along(replay, perceiver, askings, **options))
    finally:
        perceiver.close()


def stamps_seen(asked) -> list[list[int]]:
    return [
        [(frame.stamp_ns - START_NS) // 10**8 for frame in each.answer.frames] for each in asked
    ]


def test_the_buffer_holds_what_had_been_recorded_by_then(bag):
    replay = replay_of(bag(drive(frames=40)))
    replay.advance(START_NS + 2 * SECOND + 50_000_000)
    assert replay.newest().stamp_ns == START_NS + 2 * SECOND
    held = replay.buffers["front"].window(0, 2**63)
    assert held[0].stamp_ns == START_NS + SECOND
    assert replay.newest(["front"]) is held[-1]
    with pytest.raises(InvalidRequest, match="cannot go back"):
        replay.advance(START_NS)


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_every_question_sees_its_own_moment_however_far_reading_is_ahead(bag, ahead):
    question = Question("what", window=0.35, max_frames=8)
    askings = [
        Asking("q", stamp, question)
        for stamp in moments(START_NS + SECOND, START_NS + 3 * SECOND, 1)
    ]
    asked = ask(replay_of(bag(drive(frames=40))), askings, ahead=ahead)
    assert stamps_seen(asked) == [[7, 8, 9, 10], [17, 18, 19, 20], [27, 28, 29, 30]]
    assert [each.asking for each in asked] == askings


def test_a_moment_alone_sees_what_it_sees_in_a_whole_run(bag):
    path = bag(drive(frames=40))
    question = Question("what", window=1.0, max_frames=8)
    whole = ask(replay_of(path), [Asking("q", START_NS + t * SECOND, question) for t in range(4)])
    for index in range(4):
        alone = ask(replay_of(path), [Asking("q", START_NS + index * SECOND, question)])
        assert stamps_seen(alone) == stamps_seen(whole)[index : index + 1]


def test_stretches_that_no_question_looks_at_are_not_read(bag):
    path = bag(drive(frames=300))
    read = []
    replay = replay_of(path, seconds=0.5)
    inner = replay.recording.messages

    def messages(*args, **kwargs):
        for message in inner(*args, **kwargs):
            read.append(message.stamp_ns)
            yield message

    replay.recording.messages = messages
    askings = [
        Asking("q", START_NS + t * SECOND, Question("what", window=0.5)) for t in (0, 15, 29)
    ]
    asked = ask(replay, askings)
    assert [each[-1] for each in stamps_seen(asked)] == [0, 150, 290]
    assert len(read) < 80


def test_nothing_new_is_not_asked_about_again(bag):
    messages = [each for each in drive(frames=40) if each.topic == CAMERA]
    gap = [*messages[:11], *messages[30:]]  # nothing from 1.1 s to 2.9 s
    question = Question("what", window=1.0)
    askings = [
        Asking("q", START_NS + t * SECOND // 2, question, only_new=True) for t in range(2, 8)
    ]
    asked = ask(replay_of(bag(gap)), askings)
    assert [each.answer is not None for each in asked] == [True, False, False, False, True, True]
    silent = Asking("q", START_NS + SECOND, question, only_new=True, silent=True)
    asked = ask(replay_of(bag(gap, name="again")), [silent, askings[1]])
    assert [each.answer for each in asked] == [None, None]


def test_what_was_dropped_is_said(bag):
    messages = drive(frames=5)
    bad = [
        message
        if number % 2
        else type(message)(message.topic, message.type, message.stamp_ns, b"?")
        for number, message in enumerate(each for each in messages if each.topic == CAMERA)
    ]
    replay = replay_of(bag(bad))
    replay.advance(START_NS + SECOND)
    assert replay.dropped() == ["3 frames of front were left out: malformed message"]


def test_stamps_out_of_order_are_put_in_order(bag):
    messages = [each for each in drive(frames=6) if each.topic == CAMERA]
    swapped = [  # recorded in another order than taken, as over a network
        type(each)(each.topic, each.type, START_NS + place * 10**8, each.data)
        for place, each in enumerate([messages[n] for n in (0, 2, 1, 3, 5, 4)])
    ]
    asked = ask(
        replay_of(bag(swapped)),
        [Asking("q", START_NS + SECOND, Question("what", window=1.0, max_frames=8))],
    )
    assert stamps_seen(asked) == [[0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize("every", [0.0, -1.0, 1e9, float("nan")])
def test_a_period_must_make_sense(every):
    with pytest.raises(InvalidRequest, match="every is"):
        moments(0, 10, every)
