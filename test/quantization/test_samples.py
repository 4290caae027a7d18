# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a model is calibrated and judged by."""

import json

import numpy as np
import pytest
from PIL import Image

from vila_ros.engine.interface import ImagePart
from vila_ros.errors import InvalidRequest
from vila_ros.model.checkpoint import load_vila
from vila_ros.quantization.samples import (
    NOTHING,
    Conversation,
    drawn_conversations,
    encode,
    frame_conversations,
    image_conversations,
    json_conversations,
    split_samples,
)


def images_of(conversation: Conversation) -> int:
    return sum(isinstance(p, ImagePart) for m in conversation.messages for p in m.parts)


def test_drawings_interleave_images_and_text_and_repeat():
    first, again = drawn_conversations(8), drawn_conversations(8)

    assert {images_of(conversation) for conversation in first} == {0, 1, 2}
    assert [c.answer for c in first] == [c.answer for c in again]
    pixels = [c.messages[0].parts[0].pixels for c in (first[0], again[0])]
    assert np.array_equal(*pixels)


def test_every_fifth_is_held_out():
    samples = split_samples(drawn_conversations(10), "x")

    assert (len(samples.calibration), len(samples.held_out)) == (8, 2)


def test_the_answer_s_tokens_count_and_image_rows_do_not(small):
    vila = load_vila(small)
    drawn = drawn_conversations(1)[0]

    encoded = encode(vila, drawn)
    counted = [int(i) for i in encoded.labels if i != NOTHING]

    assert drawn.answer in vila.tokenizer.decode(counted)
    assert "USER" not in vila.tokenizer.decode(counted)
    assert encoded.rows.shape[1] == len(encoded.labels)
    without = encode(vila, Conversation(drawn.messages))
    assert int((without.labels == NOTHING).sum()) == vila.image_tokens(336, 448)


def test_frames_of_a_camera_come_alone_and_in_pairs():
    frames = [np.zeros((8, 8, 3), np.uint8)] * 6

    assert [images_of(c) for c in frame_conversations(frames)] == [1, 1, 2, 1, 1, 2]


def test_a_folder_s_images_have_their_questions(pictures):
    assert image_conversations(pictures, 4)[1].answer == "Rather dark."


@pytest.fixture
def dataset(tmp_path):
    Image.new("RGB", (20, 10), (200, 0, 0)).save(tmp_path / "red.png")

    def write(*records, lines=False):
        path = tmp_path / ("data.jsonl" if lines else "data.json")
        text = "\n".join(map(json.dumps, records)) if lines else json.dumps(list(records))
        path.write_text(text)
        return path

    return write


def record(question="<image>\nWhat colour?", answer="Red.", **more):
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"image": "red.png", "conversations": turns, **more}


@pytest.mark.parametrize("lines", [False, True])
def test_vila_json_is_read_from_a_list_or_from_lines(dataset, lines):
    (one, two) = json_conversations(dataset(record(), record(), record(), lines=lines), 2)

    assert one.answer == two.answer == "Red."
    assert [type(part).__name__ for part in one.messages[0].parts] == ["ImagePart", "TextPart"]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_lines_of_json_end_at_newlines_alone(dataset, separator, ending):
    path = dataset(lines=True)
    said = f"Red.{separator}Very."
    lines = [json.dumps(record(answer=said), ensure_ascii=False) for _ in range(2)]
    path.write_bytes("".join(line + ending for line in lines).encode())

    assert [each.answer for each in json_conversations(path, 2)] == [said] * 2


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (record("<image><image> What?"), "more <image> marks than images"),
        (record(image="../outside.png"), "lies outside"),
        (record(image="missing.png"), "missing.png"),
        ({"image": "red.png"}, "no sample of VILA's JSON"),
        ({"conversations": []}, "no question"),
    ],
)
def test_a_sample_that_cannot_be_read_is_named(dataset, bad, says):
    with pytest.raises(InvalidRequest, match=says) as refused:
        json_conversations(dataset(bad), 5)
    assert "data.json#0" in refused.value.message
