# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The annotation folder: decisions are saved at once, none is lost, and each can be undone."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from test.annotation.conftest import START_NS, annotation
from vila_ros.annotation.store import AnnotationFolder, StaleRevision, reviewed
from vila_ros.annotation.types import InvalidAnnotationFolder
from vila_ros.errors import InvalidRequest

FIRST, SECOND, THIRD = (f"drive-front-{number:05d}" for number in range(3))
MINUTE = 60_000_000_000


class Clock:
    """Time that moves by a step at each look."""

    def __init__(self, step: int = MINUTE) -> None:
        self.now, self.step = START_NS, step

    def __call__(self) -> int:
        self.now += self.step
        return self.now


def test_what_nobody_decided_is_pending_with_the_draft(folder):
    review = AnnotationFolder(folder()).review(FIRST)
    assert (review.revision, review.verdict, review.edited) == (0, "pending", False)
    assert review.annotation == annotation()
    assert review.history == ()


def test_a_decision_is_there_for_whoever_opens_the_folder_next(folder):
    path = folder()
    changed = annotation("a dog crosses")
    AnnotationFolder(path, Clock()).decide(FIRST, "accept", 0, changed, "Ada", "look twice")
    review = AnnotationFolder(path).review(FIRST)
    assert (review.revision, review.verdict, review.edited) == (1, "accepted", True)
    assert (review.reviewer, review.note) == ("Ada", "look twice")
    assert review.annotation == changed


def test_reviewed_yields_what_was_accepted_with_its_frame(folder):
    path = folder()
    store = AnnotationFolder(path, Clock())
    store.decide(SECOND, "accept", 0, reviewer="Ada")
    store.decide(THIRD, "reject", 0, reviewer="Ada")
    (one,) = reviewed(path)
    assert (one.recording, one.topic) == (Path("/data/drive"), "/front/image_raw/compressed")
    assert (one.camera, one.stamp_ns) == ("front", START_NS + 1_000_000_000)
    assert one.image.is_absolute()
    assert one.image.read_bytes()[:2] == b"\xff\xd8"
    assert (one.annotation, one.reviewer, one.edited) == (annotation(), "Ada", False)
    assert (one.model, one.decided_ns) == ("tiny", START_NS + MINUTE)
    assert [each.verdict for each in reviewed(path, ("pending", "rejected"))] == [
        "pending",
        "rejected",
    ]
    with pytest.raises(InvalidRequest, match="the verdict is 'good'"):
        list(reviewed(path, ("good",)))


def test_undo_walks_back_step_by_step_to_the_draft(folder):
    store = AnnotationFolder(folder(), Clock())
    store.decide(FIRST, "edit", 0, annotation("one"))
    store.decide(FIRST, "accept", 1, annotation("two"))
    store.decide(FIRST, "reject", 2)
    seen = []
    for revision in (3, 4, 5):
        review = store.decide(FIRST, "undo", revision)
        text = review.annotation["general_perception"]["description and explanation"]
        seen.append((review.verdict, text))
    assert seen == [("accepted", "two"), ("pending", "one"), ("pending", "a quiet road")]
    with pytest.raises(InvalidRequest, match="nothing to undo"):
        store.decide(FIRST, "undo", 6)
    # What follows an undo can be undone as well, and nothing of the history is gone.
    store.decide(FIRST, "accept", 6)
    assert store.decide(FIRST, "undo", 7).verdict == "pending"
    assert [step.action for step in store.review(FIRST).history] == [
        "edit", "accept", "reject", "undo", "undo", "undo", "accept", "undo",
    ]  # fmt: skip


def test_nothing_is_undone_where_nothing_was_done(folder):
    with pytest.raises(InvalidRequest, match="nothing to undo"):
        AnnotationFolder(folder()).decide(FIRST, "undo", 0)


def test_edits_that_go_on_within_seconds_are_one_step(folder):
    store = AnnotationFolder(folder(), Clock(step=1_000_000_000))
    for number in range(4):
        review = store.decide(FIRST, "edit", number, annotation(f"word {number}"), "Ada")
    assert review.revision == 4
    assert len(review.history) == 1
    other = store.decide(FIRST, "edit", 4, annotation("another person"), "Ben")
    assert len(other.history) == 2
    assert store.decide(FIRST, "undo", 5).annotation == annotation("word 3")
    assert store.decide(FIRST, "undo", 6).annotation == annotation()


def test_a_decision_on_an_old_state_is_refused_with_the_new_one(folder):
    path = folder()
    mine, theirs = AnnotationFolder(path, Clock()), AnnotationFolder(path, Clock())
    theirs.decide(FIRST, "edit", 0, annotation("theirs"), "Ben")
    with pytest.raises(StaleRevision, match="revision 1, not 0: Ben") as refusal:
        mine.decide(FIRST, "edit", 0, annotation("mine"), "Ada")
    assert refusal.value.current.annotation == annotation("theirs")
    assert mine.review(FIRST).annotation == annotation("theirs")


def test_of_many_tabs_at_once_none_overwrites_another(folder):
    path = folder()
    stores = [AnnotationFolder(path, Clock()) for _ in range(4)]
    refused = []

    def decide(store, name):
        for number in range(10):
            while True:
                revision = store.verdict(FIRST)[1]
                try:
                    store.decide(FIRST, "accept", revision, note=f"{name} {number}")
                    break
                except StaleRevision:
                    refused.append(name)

    threads = [
        threading.Thread(target=decide, args=(store, name))
        for name, store in zip("abcd", stores, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history = stores[0].review(FIRST).history
    assert sorted(step.note for step in history) == sorted(
        f"{name} {number}" for name in "abcd" for number in range(10)
    )
    assert [step.revision for step in history] == list(range(1, 41))


WRITER = """
import sys
from vila_ros.annotation.store import AnnotationFolder
store = AnnotationFolder(sys.argv[1])
revision = store.verdict(sys.argv[2])[1]
while True:
    revision = store.decide(sys.argv[2], "accept", revision, note=str(revision)).revision
    print(revision, flush=True)
"""


def test_a_kill_in_the_middle_loses_nothing_that_was_confirmed(folder):
    path = folder()
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), FIRST], stdout=subprocess.PIPE, text=True
        )
        confirmed = [int(writer.stdout.readline()) for _ in range(40)]
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split("\n")
        confirmed += [int(line) for line in rest[:-1]]
        writer.wait()
        review = AnnotationFolder(path).review(FIRST)
        # The one that was being made may be there as well, but whole.
        assert review.revision in (confirmed[-1], confirmed[-1] + 1)
        assert [step.revision for step in review.history] == list(range(1, review.revision + 1))


def test_whoever_reads_meanwhile_sees_the_old_state_whole(folder):
    store = AnnotationFolder(folder(), Clock())
    store.decide(FIRST, "accept", 0)
    with (store.path / "reviews" / f"{FIRST}.json").open() as reader:
        store.decide(FIRST, "reject", 1)
        assert [step["action"] for step in json.load(reader)["history"]] == ["accept"]


def test_a_disk_without_space_leaves_what_was_saved(folder, monkeypatch):
    store = AnnotationFolder(folder(), Clock())
    store.decide(FIRST, "accept", 0)

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InvalidAnnotationFolder, match="No space left on device"):
        store.decide(FIRST, "reject", 1)
    monkeypatch.undo()
    assert AnnotationFolder(store.path).review(FIRST).verdict == "accepted"
    assert store.decide(FIRST, "reject", 1).verdict == "rejected"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: (path / "annotations.json").unlink(), "holds no annotations"),
        (lambda path: (path / "candidates.jsonl").unlink(), "is not finished"),
        (lambda path: (path / "annotations.json").write_text("{}"), "is not that of a folder"),
        (
            lambda path: (path / "annotations.json").write_text(
                '{"format": "vila_ros annotations", "version": 9}'
            ),
            "has version 9",
        ),
        (lambda path: append(path, "{\n"), r"candidates\.jsonl, line 4 is damaged"),
        (lambda path: append(path, '{"id": "x"}\n'), "line 4 is damaged: recording is missing"),
        (lambda path: append(path, first_line(path)), "line 4 .* is there twice"),
        (
            lambda path: append(path, first_line(path).replace(FIRST, "../../x")),
            "line 4 is damaged: the id '../../x' has other characters",
        ),
        (
            lambda path: append(path, first_line(path).replace(f"images/{FIRST}", "/etc/x")),
            "the image '/etc/x.jpg' is not in images/",
        ),
    ],
)
def test_a_folder_that_is_damaged_is_refused_with_the_place(folder, change, message):
    path = folder()
    change(path)
    with pytest.raises(InvalidAnnotationFolder, match=message):
        AnnotationFolder(path)


@pytest.mark.parametrize("file", ["reviews", "drafts"])
@pytest.mark.parametrize("content", ["{", "{}", '{"history": [{"action": "dance"}]}'])
def test_a_damaged_record_is_named(folder, file, content):
    path = folder()
    (path / "reviews").mkdir()
    (path / file / f"{FIRST}.json").write_text(content)
    with pytest.raises(InvalidAnnotationFolder, match=rf"{file}/{FIRST}\.json is damaged"):
        AnnotationFolder(path).review(FIRST)


def test_a_missing_frame_is_named(folder):
    path = folder()
    AnnotationFolder(path).decide(FIRST, "accept", 0)
    (path / "images" / f"{FIRST}.jpg").unlink()
    with pytest.raises(InvalidAnnotationFolder, match=rf"{FIRST}\.jpg is missing"):
        list(reviewed(path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((FIRST, "dance", 0), "the action is 'dance'"),
        (("nobody", "accept", 0), "has no candidate 'nobody'"),
        ((FIRST, "accept", 0, {"boxes": []}), "the annotation has 'boxes'"),
        ((FIRST, "accept", 0, None, "x" * 101), "at most 100 characters"),
    ],
)
def test_wrong_decisions_are_refused_and_change_nothing(folder, arguments, message):
    store = AnnotationFolder(folder())
    with pytest.raises(InvalidRequest, match=message):
        store.decide(*arguments)
    assert store.review(FIRST).revision == 0


def append(path: Path, line: str) -> None:
    with (path / "candidates.jsonl").open("a") as file:
        file.write(line)


def first_line(path: Path) -> str:
    line = (path / "candidates.jsonl").read_text().splitlines()[0]
    assert json.loads(line)["id"] == FIRST
    return line + "\n"
