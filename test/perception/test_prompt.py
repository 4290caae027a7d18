# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the model is shown and told, word for word."""

import numpy as np
import pytest

from test.perception.messages import START
from vila_ros.engine.interface import ImagePart, TextPart
from vila_ros.perception.prompt import age, caption, write_messages
from vila_ros.perception.types import Example, Frame, MessageKind

MS = 1_000_000


def frame(camera: str, ms: int) -> Frame:
    return Frame(camera, START + ms * MS, "", MessageKind.IMAGE, b"")


def image(key: str) -> ImagePart:
    return ImagePart(np.zeros((1, 1, 3), np.uint8), key)


def written(messages) -> list[tuple[str, str]]:
    """Role and text of each turn, images as <key>."""
    return [
        (
            message.role,
            "".join(
                part.text if isinstance(part, TextPart) else f"<{part.key}>"
                for part in message.parts
            ),
        )
        for message in messages
    ]


def test_frames_with_camera_and_time_then_images_then_the_question():
    messages = write_messages(
        "Is the way free?",
        system_prompt="You watch.",
        frames=[
            (frame("front", 0), image("f0")),
            (frame("rear_left", 100), image("r0")),
            (frame("front", 500), image("f1")),
        ],
        images=[image("map"), image("sign")],
        examples=[(Example((b"",), "And here?", "No."), [image("e")])],
    )
    assert written(messages) == [
        ("system", "You watch."),
        ("user", "<e>\nAnd here?"),
        ("assistant", "No."),
        (
            "user",
            "front camera, 0.5 s before:\n<f0>\n"
            "rear left camera, 0.4 s before:\n<r0>\n"
            "front camera, latest:\n<f1>\n"
            "attached image 1:\n<map>\nattached image 2:\n<sign>\n"
            "Is the way free?",
        ),
    ]


def test_texts_that_meet_are_one_part():
    messages = write_messages("Q", frames=[(frame("front", i), image("f")) for i in range(3)])
    kinds = [isinstance(part, TextPart) for part in messages[-1].parts]
    assert kinds == [True, False, True, False, True, False, True]


def test_a_question_alone():
    assert written(write_messages("Hello?")) == [("user", "Hello?")]
    assert written(write_messages("Q", images=[image("a")])) == [
        ("user", "attached image:\n<a>\nQ")
    ]


def test_a_window_that_moved_on_reads_the_same():
    def texts(shift: int) -> list[tuple[str, str]]:
        frames = [(frame("front", shift + ms), image("f")) for ms in (0, 700, 1400)]
        return written(write_messages("Q", frames=frames))

    assert texts(0) == texts(12_345)


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (0, "latest"),
        (4, "latest"),
        (33, "0.03 s before"),
        (250, "0.25 s before"),
        (500, "0.5 s before"),
        (996, "1 s before"),
        (1000, "1 s before"),
        (1540, "1.5 s before"),
        (10_000, "10 s before"),
        (120_000, "120 s before"),
    ],
)
def test_times_are_short(milliseconds, words):
    assert age(milliseconds * MS) == words


def test_a_camera_is_called_one_once():
    assert caption(frame("camera", 0), START) == "camera, latest"
    assert caption(frame("front_camera", 0), START) == "front camera, latest"
    assert caption(frame("Top", 0), START) == "Top camera, latest"
