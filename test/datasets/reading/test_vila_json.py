# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every form of record becomes a sample, or is refused by file and line."""

from pathlib import Path
from typing import Any

import pytest

from test.datasets.reading.conftest import qa
from vila_ros.datasets.reading.records import InvalidSample
from vila_ros.datasets.reading.vila_json import MediaFolder, read_sample
from vila_ros.datasets.types import ClipSource, ImageSource, Sample

ORIGIN = "data.json:7"


def shape(sample: Sample) -> list[tuple[str, list[str]]]:
    """Turns as (role, parts), media as <name>."""

    def name(part: object) -> str:
        if isinstance(part, ImageSource):
            return f"<{part.key}>"
        return "<clip>" if isinstance(part, ClipSource) else str(part)

    return [(turn.role, [name(part) for part in turn.parts]) for turn in sample.turns]


def read(record: dict[str, Any], media: Path = Path("media")) -> list[tuple[str, list[str]]]:
    return shape(read_sample(record, MediaFolder(media), ORIGIN))


def test_an_image_stands_where_its_mark_is():
    record = qa("Look <image>\nhere.", "A door.", image="a.png")
    assert read(record)[0] == ("user", ["Look ", "<a.png>", "here."])
    assert read(qa("<image>\nWhat?", "A door.", image=["a.png"]))[0] == (
        "user", ["<a.png>", "What?"],
    )  # fmt: skip


def test_without_marks_media_come_first():
    assert read(qa("What?", "Doors.", image=["a.png", "b.png"]))[0][1] == [
        "<a.png>", "<b.png>", "What?",
    ]  # fmt: skip


def test_marks_are_counted_over_all_turns():
    record = {
        "images": ["a.png", "b.png"],
        "conversations": [
            {"from": "system", "value": "Be brief."},
            {"from": "human", "value": "<image> What?"},
            {"from": "gpt", "value": "A door."},
            {"from": "human", "value": "And <image>?"},
            {"from": "gpt", "value": "A wall."},
        ],
    }
    assert [parts for _, parts in read(record)] == [
        ["Be brief."], ["<a.png>", " What?"], ["A door."], ["And ", "<b.png>", "?"], ["A wall."],
    ]  # fmt: skip


def test_roles_of_other_tools_are_known():
    record = {
        "messages": [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi"},
        ]
    }
    assert read(record) == [("user", ["Hello"]), ("assistant", ["Hi"])]


def test_a_clip_is_a_file_or_frames_in_their_order(media: Path):
    sample = read_sample(qa("<video>\nWhat?", "It.", video="x.mp4"), MediaFolder(media, 5), ORIGIN)
    clip = sample.turns[0].parts[0]
    assert isinstance(clip, ClipSource)
    assert (clip.path, clip.count) == (media / "x.mp4", 5)
    for given in ("clip", ["clip/f1.png", "clip/f2.png", "clip/f10.png"]):
        record = qa("<image>\nWhat?", "It.", video=given)
        clip = read_sample(record, MediaFolder(media), ORIGIN).turns[0].parts[0]
        assert isinstance(clip, ClipSource)
        assert [frame.path.name for frame in clip.frames if frame.path] == [
            "f1.png", "f2.png", "f10.png",
        ]  # fmt: skip
    two = read_sample(qa("What?", "It.", video="clip"), MediaFolder(media, 2), ORIGIN)
    assert [frame.path.name for frame in two.turns[0].parts[0].frames] == ["f1.png", "f10.png"]  # type: ignore[union-attr]


def test_documents_captions_and_instructions():
    assert read({"text": "A <image> b <image>", "images": ["a.png", "b.png"]}) == [
        ("text", ["A ", "<a.png>", " b ", "<b.png>"])
    ]
    matched = {
        "text_list": ["One.", "Two."],
        "image_info": [{"image_name": "a.png", "matched_text_index": 1}],
    }
    assert read(matched) == [("text", ["One.", "<a.png>", " Two."])]
    assert read({"image": "a.png", "caption": "A door."}) == [("text", ["<a.png>", "A door."])]
    assert read({"instruction": "Add.", "input": "1 + 1", "output": "2"}) == [
        ("user", ["Add.\n1 + 1"]), ("assistant", ["2"]),
    ]  # fmt: skip


def test_identity_and_provenance_are_kept():
    record = qa("What?", "A door.", id=7, provenance={"recording": "drive"})
    sample = read_sample(record, MediaFolder(Path("media")), ORIGIN)
    assert (sample.id, sample.origin) == ("7", ORIGIN)
    assert sample.provenance == {"recording": "drive"}


@pytest.mark.parametrize(
    ("record", "kind", "complaint"),
    [
        (qa("<image><image> What?", "It.", image="a.png"), "marks", "2 marks .* for 1 media"),
        (qa("<image> What?", "It."), "marks", "1 marks .* for 0 media"),
        (qa("What?", "<image>", image="a.png"), "marks", "turn 2, not the user's"),
        (qa("What?", " "), "empty answer", "turn 2, an answer, is empty"),
        (qa("", "It."), "turns", "turn 1, the user's, is empty"),
        ({"conversations": []}, "turns", "no list of turns"),
        ({"conversations": [{"from": "human", "value": "What?"}]}, "turns", "assistant last"),
        ({"conversations": [{"from": "cat", "value": "Miau"}]}, "turns", "from 'cat'"),
        ({"conversations": [{"from": "human", "value": None}]}, "turns", "has no text"),
        ({"conversations": ["What?"]}, "turns", "turn 1 is no object"),
        (qa("What?", "It.", image="../secret.png"), "media", "leads out of the media folder"),
        (qa("What?", "It.", image="/etc/passwd"), "media", "leads out of the media folder"),
        (qa("What?", "It.", image=7), "media", "7 is no path"),
        (qa("What?", "It.", video=[]), "media", "0 frames"),
        ({"caption": "A door."}, "media", "a caption without an image"),
        ({"image": "a.png", "caption": ""}, "empty answer", "caption is empty"),
        ({"instruction": "Add.", "output": ""}, "empty answer", "output is empty"),
        ({"instruction": "", "output": "2"}, "turns", "an instruction without text"),
        ({"instruction": "<image>", "output": "2"}, "marks", "text-only"),
        ({"text_list": ["a"], "image_info": [{"image_name": "a.png", "matched_text_index": 3}]},
         "marks", "text 3 of 1"),
        ({"question": "What?"}, "unknown form", "keys question tell no form"),
    ],
)  # fmt: skip
def test_a_record_that_is_no_sample_is_refused(record, kind: str, complaint: str):
    with pytest.raises(InvalidSample, match=complaint) as caught:
        read(record)
    assert caught.value.kind == kind
    assert caught.value.message.startswith(f"{ORIGIN}: ")
