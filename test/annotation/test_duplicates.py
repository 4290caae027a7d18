# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Near-duplicates: of what shows the same, one is enough."""

import cv2
import numpy as np
import pytest

from vila_ros.annotation.duplicates import Found, Likeness, without_duplicates
from vila_ros.annotation.perceptual_hash import hamming, perceptual_hash
from vila_ros.annotation.types import Reason
from vila_ros.bags.synthetic_drive import drive
from vila_ros.errors import InvalidRequest

SECOND = 1_000_000_000
NOTHING = np.empty(0, np.float16)


def found(seconds, score, hash=0, recording=0, topic="/front", miner="motion", embedding=NOTHING):
    reason = Reason(miner, f"{miner} at {seconds}", score)
    return Found(
        recording, 0, topic, round(seconds * SECOND), hash, np.array(embedding, np.float16),
        (reason,),
    )  # fmt: skip


def kept(*frames, most=100, **likeness):
    chosen = without_duplicates(frames, Likeness(**likeness), most)
    return [(each.recorded_ns / SECOND, each.also) for each in chosen]


FAR = 0xFFFF_FFFF  # 32 bits from 0


def test_of_one_moment_the_best_stays_with_all_reasons():
    (one,) = without_duplicates(
        [found(10.0, 0.5), found(10.9, 0.8, FAR, miner="question"), found(11.5, 0.4, FAR)],
        Likeness(),
        10,
    )
    assert one.recorded_ns == round(10.9 * SECOND)
    assert one.also == 2
    assert [reason.miner for reason in one.reasons] == ["question", "motion"]
    assert one.reasons[1].text == "motion at 10.0 (0.9 s before)"
    assert one.score == pytest.approx(1 - 0.2 * 0.5)


def test_other_cameras_and_other_recordings_are_other_moments():
    assert len(kept(found(10, 0.5), found(10, 0.4, FAR, topic="/rear"))) == 2
    assert len(kept(found(10, 0.5), found(10, 0.4, FAR, recording=1))) == 2


def test_what_looks_the_same_is_kept_once_wherever_it_was_seen():
    assert kept(found(10, 0.9), found(100, 0.8, 0b11), found(50, 0.7, recording=3)) == [(10, 2)]
    assert len(kept(found(10, 0.9), found(100, 0.8, 0b1111_1111))) == 2


def test_embeddings_must_agree_with_the_hash():
    one, other = found(10, 0.9, embedding=[1, 0]), found(99, 0.8, embedding=[0, 1])
    assert len(kept(one, other)) == 2
    assert len(kept(one, found(99, 0.8, embedding=[1, 0.01]))) == 1


def test_the_best_are_kept_when_there_are_too_many():
    frames = [found(10 * i, i / 20, hash=i * 0x0F0F_1111_3333) for i in range(1, 15)]
    assert [seconds for seconds, _ in kept(*frames, most=3, bits=0)] == [140, 130, 120]


def test_the_order_of_what_was_found_does_not_matter():
    frames = [found(i * 0.7, 0.3 + (i * 7 % 5) / 10, hash=(i % 4) * FAR) for i in range(40)]
    assert kept(*frames) == kept(*reversed(frames))


def test_likeness_has_limits():
    with pytest.raises(InvalidRequest, match=r"-1 s, 4 bits"):
        Likeness(apart=-1)
    with pytest.raises(InvalidRequest, match="65 bits"):
        Likeness(bits=65)


def test_a_hash_survives_compression_and_size_but_not_another_scene():
    (picture, _), *_, (later, _) = drive(seconds=6.0, rate=2.0)
    picture, later = picture[..., ::-1], later[..., ::-1]
    packed = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 1)
    small = cv2.resize(picture, (320, 180), interpolation=cv2.INTER_AREA)
    flipped = np.ascontiguousarray(picture[::-1])
    own = perceptual_hash(np.ascontiguousarray(picture))
    others = np.array([perceptual_hash(each) for each in (packed, small, flipped)], np.uint64)
    near, resized, far = hamming(own, others)
    assert near <= 4
    assert resized <= 4
    assert far > 16
    assert hamming(own, np.array([own ^ 0b101], np.uint64)) == [2]
