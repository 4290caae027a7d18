# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The demonstration's page in a real browser: it shows what happened, and obeys no model."""

from __future__ import annotations

import pytest
from builtin_interfaces.msg import Time

from vila_ros.bags.drive_recording import FRAME_ID, START_NS
from vila_ros.bags.recorded_cameras import recorded_cameras
from vila_ros.bags.recording import open_recording
from vila_ros.bags.synthetic_drive import write_drive
from vila_ros.errors import ErrorCode
from vila_ros.msg import FrameRef, InferenceStats, SceneDescription
from vila_ros.nodes.demo.material import Material
from vila_ros.nodes.demo.page import PageNotWritten, write_page
from vila_ros.nodes.demo.questions import WRONG_CAMERA, DemoQuestion
from vila_ros.nodes.demo.record import Record
from vila_ros.srv import Query

HOSTILE = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    path = tmp_path_factory.mktemp("drive") / "drive"
    truths = write_drive(path, seconds=2.0)
    recording = open_recording(path)
    frames = {("front", truth.stamp_ns): FRAME_ID for truth in truths}
    cameras = recorded_cameras(recording)
    return Material(recording, cameras, "vila-nano", 2.0, frames, seed=3)


def frames(*tenths):
    stamps = [START_NS + tenth * 100_000_000 for tenth in tenths]
    return [
        FrameRef(camera="front", stamp=Time(sec=stamp // 10**9, nanosec=stamp % 10**9))
        for stamp in stamps
    ]


STATS = InferenceStats(queue_time=0.02, time_to_first_token=0.1, total_time=0.25, prompt_tokens=80)


@pytest.fixture(scope="module")
def record():
    """An answer that is right, one that is wrong, one of a hostile model, one refused."""
    record = Record()
    color = DemoQuestion("What color is the car?", choices=("red", "blue"), answer="red")
    count = DemoQuestion("How many cones?", streamed=False, choices=("1", "2"), answer="2")
    free = DemoQuestion("What is ahead?")
    said = {"frames": frames(0), "stats": STATS}
    chances = {"choice_probabilities": [0.9, 0.1]}
    record.add_answer(color, Query.Response(text="red", **said, **chances), [])
    record.add_answer(count, Query.Response(text="1", **said, **chances), [])
    record.add_answer(
        free, Query.Response(text=HOSTILE, frames=frames(1, 5, 9), stats=STATS), ["a fault"]
    )
    record.add_answer(
        WRONG_CAMERA,
        Query.Response(error_code=ErrorCode.UNKNOWN_CAMERA, error_message="no such camera"),
        [],
    )
    record.add_description(SceneDescription(text=HOSTILE, frames=frames(7), stats=STATS))
    return record


@pytest.fixture(scope="module")
def written(tmp_path_factory, material, record):
    return write_page(tmp_path_factory.mktemp("page") / "new" / "index.html", material, record)


@pytest.fixture
def visit(browser, written):
    """Open the page: visit(width, scheme) -> page; complaints of the browser fail the test."""
    complaints, opened = [], []

    def open_page(width=1200, scheme="light"):
        page = browser.new_page(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
        )
        opened.append(page)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(request.url[:100]))
        page.goto(written.as_uri())
        return page

    yield open_page
    for page in opened:
        page.close()
    assert complaints == []


def test_answers_are_marked_and_counted(visit):
    page = visit()
    assert page.locator(".score").inner_text().startswith("1 of 2 answers right")
    cards = page.locator(".cards article")
    assert [card.locator(".badge").inner_text() for card in cards.all()] == [
        "right",
        "wrong",
        "fault",
        "refused, as it should be",
    ]
    assert cards.nth(0).locator(".said").inner_text() == "red"
    assert "true is: 2" in cards.nth(1).inner_text()
    assert "service ~/query · one of 2" in cards.nth(1).inner_text()
    assert "101 UNKNOWN_CAMERA: no such camera" in cards.nth(3).inner_text()


def test_each_answer_shows_its_frames_and_what_it_took(visit):
    page = visit()
    card = page.locator(".cards article").nth(2)
    times = [figure.inner_text() for figure in card.locator("figcaption").all()]
    assert times == ["front · 0.1 s", "front · 0.5 s", "front · 0.9 s"]
    sizes = page.evaluate("[...document.images].map(each => each.naturalWidth)")
    assert len(sizes) == 12 + 1 + 1 + 3 + 1
    assert set(sizes) == {320}
    assert "250 ms: first token after 100 ms" in card.inner_text()
    bars = card.locator(".bar i").evaluate_all("all => all.map(each => each.offsetWidth)")
    assert len(bars) == 3
    assert all(width > 0 for width in bars)


def test_what_a_model_says_is_shown_and_not_obeyed(visit):
    page = visit()
    assert page.title() == "VILA on ROS 2"
    assert page.locator("script").count() == 0
    assert page.locator(".cards article").nth(2).locator(".said").inner_text() == HOSTILE
    assert page.locator(".notes .said").inner_text() == HOSTILE


def test_what_the_model_is_for_is_said(visit):
    said = visit().locator(".model").inner_text()
    assert "vila-nano is for this demonstration" in said
    assert "A robot should use a released VILA checkpoint: make demo MODEL=" in said


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_screen_by_day_and_by_night(visit, width, scheme):
    page = visit(width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red = int(ground.partition("(")[2].partition(",")[0])
    assert (red < 60) == (scheme == "dark")


def test_a_page_that_cannot_be_written_is_said(tmp_path, material, record):
    (tmp_path / "file").touch()
    with pytest.raises(PageNotWritten, match=r"file/page\.html cannot be written.*--page"):
        write_page(tmp_path / "file" / "page.html", material, record)
