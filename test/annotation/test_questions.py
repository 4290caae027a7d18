# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Miners that ask a model: what the user wants to know, doubt, and disagreement."""

import numpy as np
import pytest

from test.annotation.conftest import START_NS
from test.annotation.engines import BrightnessEngine
from vila_ros.annotation.asking import Interviewer
from vila_ros.annotation.cameras import Sight
from vila_ros.annotation.questions import (
    LowConfidence,
    ModelDisagreement,
    QuestionDisagreement,
    UserQuestions,
)
from vila_ros.bags.recorded_cameras import RecordedCamera
from vila_ros.engine.torch_engine import TorchEngine
from vila_ros.errors import InvalidRequest, Unsupported
from vila_ros.perception.types import Frame, MessageKind

FRONT = RecordedCamera("front", "/front", MessageKind.IMAGE)
DARK, BRIGHT = "Is it dark?", "Is it bright?"


def sight(brightness):
    """A frame of an even grey, 0 to 1."""
    pixels = np.full((8, 8, 3), round(brightness * 255), np.uint8)
    frame = Frame("front", START_NS, "", MessageKind.IMAGE, b"")
    return Sight(FRONT, START_NS, START_NS, frame, pixels)


def ask(name="one", **options):
    return Interviewer(BrightnessEngine(name, **options))


def told(miner, brightness):
    return [(reason.text, reason.score) for reason in miner.look(sight(brightness))]


def test_a_question_of_the_user_counts_when_it_is_answered_with_yes():
    miner = UserQuestions(ask(), [DARK, BRIGHT])
    assert told(miner, 0.0) == [("“Is it dark?” yes (99 %)", 0.99)]
    assert told(miner, 1.0) == [("“Is it bright?” yes (99 %)", 0.99)]


def test_doubt_counts_more_the_greater_it_is():
    miner = LowConfidence(ask(), [DARK], below=0.7)
    assert told(miner, 0.0) == []
    ((text, little),) = told(miner, 0.35)
    ((_, much),) = told(miner, 0.49)
    assert text == "in doubt about “Is it dark?” yes (65 %)"
    assert 0.3 < little < much <= 0.8


def test_doubt_needs_probabilities():
    with pytest.raises(Unsupported, match="runtime echo gives no probabilities"):
        LowConfidence(ask(probabilities=False), [DARK])
    with pytest.raises(InvalidRequest, match=r"the confidence is 0\.4"):
        LowConfidence(ask(), [DARK], below=0.4)


def test_questions_that_contradict_each_other_count():
    opposite = QuestionDisagreement(ask(always="yes"), [(DARK, "Is it night?", True)])
    assert told(opposite, 0.0) == []
    ((text, _),) = told(opposite, 1.0)
    assert text == "“Is it dark?” no (99 %) does not fit “Is it night?” yes (99 %)"
    fits = QuestionDisagreement(ask(), [(DARK, BRIGHT, False)])
    assert told(fits, 0.0) == told(fits, 1.0) == []
    assert len(told(QuestionDisagreement(ask(), [(DARK, BRIGHT, True)]), 0.0)) == 1


def test_models_that_disagree_count():
    miner = ModelDisagreement(ask("one"), ask("other", always="yes"), [DARK, "Is it wet?"])
    ((text, score),) = told(miner, 0.0)
    assert text == "“Is it wet?” one no (99 %), other yes (99 %)"
    assert score == 0.99


def test_without_probabilities_an_answer_counts_with_less():
    assert told(UserQuestions(ask(probabilities=False), [DARK]), 0.0) == [
        ("“Is it dark?” yes", 0.75)
    ]


def test_answers_do_not_depend_on_what_the_engine_did_before(golden):
    engine = TorchEngine(str(golden), device="cpu", threads=1, max_concurrency=1, compile=False)
    fresh = [Interviewer(engine).yes_or_no(sight(0.3), DARK) for _ in range(2)]
    busy = Interviewer(engine)
    for question in (f"{DARK} Say yes.", BRIGHT, "Is there a dog, a cat, or anything else?"):
        busy.yes_or_no(sight(0.8), question)
    after = Interviewer(engine).yes_or_no(sight(0.3), DARK)
    engine.close()
    assert fresh == [after, after]


def test_each_question_is_asked_once_a_frame_under_a_key_of_its_own():
    engine = BrightnessEngine("one")
    interviewer = Interviewer(engine)
    miners = [UserQuestions(interviewer, [DARK]), LowConfidence(interviewer, [DARK, BRIGHT])]
    frames = [sight(0.1), sight(0.1)]
    for frame in frames:
        for miner in miners:
            list(miner.look(frame))
    assert len(engine.requests) == 4
    keys = [request.messages[0].parts[0].key for request in engine.requests]
    assert keys[0] == keys[1] != keys[2] == keys[3]
    assert len({request.request_id for request in engine.requests}) == 4
