# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the review page asks for and sends, whatever a client makes of it."""

import json

import pytest

from vila_ros.annotation.store import AnnotationFolder
from vila_ros.bags.synthetic_drive import HEIGHT, WIDTH
from vila_ros.errors import InvalidRequest
from vila_ros.web.film_strip import FilmStrips
from vila_ros.web.review import ReviewCalls
from vila_ros.web.server import Query

FIRST, SECOND = "drive-front-00000", "drive-front-00001"


@pytest.fixture
def calls(serve):
    return ReviewCalls(AnnotationFolder(serve(3).folder.path), FilmStrips(), "Ada")


def ask(call, **parameters):
    return json.loads(call(Query(parameters)).content)


def send(calls, **body):
    reply = calls.decide(Query({}, {"reviewer": "Ben", **body}))
    return reply.status, json.loads(reply.content)


def test_the_queue_tells_what_there_is_in_few_words(calls):
    queue = ask(calls.queue)
    assert [row["id"] for row in queue["candidates"]][:2] == [FIRST, SECOND]
    assert queue["candidates"][0]["title"] == "motion number 0"
    assert {row["verdict"] for row in queue["candidates"]} == {"pending"}
    assert (queue["reviewer"], queue["recordings"]) == ("Ada", ["drive"])
    assert "vehicles" in queue["groups"]


def test_a_candidate_has_its_draft_its_review_and_stamps_that_survive_javascript(calls):
    found = ask(calls.candidate, id=FIRST)
    assert (found["width"], found["height"]) == (WIDTH, HEIGHT)
    assert isinstance(found["stamp_ns"], str)
    assert found["draft"]["model"] == "tiny"
    assert found["review"]["revision"] == 0
    assert not found["review"]["undoable"]


def test_changes_are_told_to_other_tabs(calls):
    assert send(calls, id=FIRST, action="accept", revision=0)[0] == 200
    assert send(calls, id=SECOND, action="reject", revision=0)[0] == 200
    changes = ask(calls.changes, since="1")
    assert changes == {"change": 2, "rows": [[SECOND, "rejected", 1]]}
    assert ask(calls.changes, since="2")["rows"] == []
    verdicts = [row["verdict"] for row in ask(calls.queue)["candidates"]]
    assert verdicts == ["accepted", "rejected", "pending"]


def test_an_old_state_is_answered_with_the_stored_one(calls):
    send(calls, id=FIRST, action="accept", revision=0)
    status, answer = send(calls, id=FIRST, action="reject", revision=0)
    assert status == 409
    assert answer["review"]["verdict"] == "accepted"
    assert answer["review"]["undoable"]
    assert "Ben has changed it" in answer["error"]


def test_pictures_are_jpegs_of_their_size(calls):
    assert calls.image(Query({"id": FIRST})).content[:2] == b"\xff\xd8"
    small = calls.thumbnail(Query({"id": FIRST}))
    assert small.type == "image/jpeg"
    assert len(small.content) < 5000
    at = ask(calls.strip, id=FIRST)["frames"][0]["at"]
    tiny = calls.frame(Query({"id": FIRST, "at": at, "size": "small"}))
    whole = calls.frame(Query({"id": FIRST, "at": at}))
    assert len(tiny.content) < len(whole.content)


def test_a_recording_that_is_gone_is_a_message_in_place_of_the_strip(calls, monkeypatch):
    monkeypatch.setattr("pathlib.Path.exists", lambda path: False)
    answer = ask(calls.strip, id=FIRST)
    assert answer["frames"] == []
    assert "--recordings" in answer["message"]


@pytest.mark.parametrize(
    "body",
    [
        [],
        None,
        {},
        {"id": FIRST},
        {"id": FIRST, "action": "accept", "revision": "0"},
        {"id": FIRST, "action": "accept", "revision": True},
        {"id": FIRST, "action": ["accept"], "revision": 0},
        {"id": FIRST, "action": "dance", "revision": 0},
        {"id": 5, "action": "accept", "revision": 0},
        {"id": "../../x", "action": "accept", "revision": 0},
        {"id": FIRST, "action": "accept", "revision": 0, "note": 5},
        {"id": FIRST, "action": "accept", "revision": 0, "reviewer": None},
        {"id": FIRST, "action": "accept", "revision": 0, "annotation": {"boxes": 1}},
        {"id": FIRST, "action": "accept", "revision": 0, "annotation": [1]},
    ],
)
def test_what_is_no_decision_is_refused_and_changes_nothing(calls, body):
    with pytest.raises(InvalidRequest):
        calls.decide(Query({}, body))
    assert ask(calls.changes, since="0")["rows"] == []


@pytest.mark.parametrize("name", ["candidate", "image", "thumbnail", "strip", "frame"])
@pytest.mark.parametrize("parameters", [{}, {"id": "../annotations.json"}, {"id": "nobody"}])
def test_only_candidates_are_served(calls, name, parameters):
    with pytest.raises(InvalidRequest):
        getattr(calls, name)(Query(parameters))


@pytest.mark.parametrize("at", ["", "-1", "1.5", "9" * 40, "now", "²"])
def test_times_are_whole_numbers(calls, at):
    with pytest.raises(InvalidRequest, match="at is"):
        calls.frame(Query({"id": FIRST, "at": at}))
