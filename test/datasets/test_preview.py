# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The page is looked at in a real browser: each control is used, nothing is fetched, no errors."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import pytest

from test.datasets.export_data import FRONT, REAR, SPEED_TEMPLATE, export, write_recording
from vila_ros.datasets.split import SplitRule

TEMPLATE = (
    SPEED_TEMPLATE
    + """\
  - {name: clip, media: video, frames: 4, over: 0.6, every: 1, question: "What happens?",
     answer: "</script><b id=injected>It moves.</b>"}
  - {name: change, media: images, frames: 2, over: 0.5, every: 1,
     question: "First <image>, then <image>. Faster?", answer: "{speed:.1f}"}
"""
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preview")
    recording = write_recording(folder / "drive", cameras=(FRONT, REAR), size=(96, 64))
    export(folder, recording, template=TEMPLATE, name="yard", split=SplitRule("time", 0.5, 0.2))
    return folder / "out"


@pytest.fixture
def page(browser, exported):
    page = browser.new_page(viewport={"width": 1200, "height": 900}, color_scheme="light")
    page.problems = []
    page.requests = []
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda request: page.requests.append(request.url))
    page.goto((exported / "preview.html").as_uri())
    yield page
    page.close()
    assert page.problems == []
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []


def shown(page) -> int:
    return page.locator(".sample").count()


def test_it_shows_totals_split_and_samples_with_their_pictures(page):
    assert page.title() == "yard: training data"
    tiles = page.locator(".tile").all_inner_texts()
    assert any("samples" in text for text in tiles)
    assert page.locator(".time i").count() >= 3
    assert shown(page) > 8
    page.locator(".sample").last.scroll_into_view_if_needed()
    page.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth > 0)")


def test_every_filter_filters_and_clear_clears(page):
    everything = shown(page)
    page.select_option("#by-split", "val")
    assert 0 < shown(page) < everything
    assert set(page.locator(".sample .tag:first-child").all_inner_texts()) == {"val"}
    page.select_option("#by-split", "")
    page.select_option("#by-rule", "clip")
    clips = shown(page)
    assert 0 < clips < everything
    page.select_option("#by-rule", "")
    page.select_option("#by-kind", "video")
    assert shown(page) == clips
    page.fill("#search", "no such words")
    assert page.locator(".empty").inner_text() == "No sample matches."
    page.click("#clear")
    assert shown(page) == everything
    page.fill("#search", "IT MOVES")
    assert shown(page) == clips


def test_a_sample_opens_with_its_provenance_and_arrows_go_on(page):
    page.locator(".sample").nth(1).click()
    first = page.locator("#detail-title").inner_text()
    names = page.locator("#detail td:first-child").all_inner_texts()
    values = page.locator("#detail td:last-child").all_inner_texts()
    rows = dict(zip(names, values, strict=True))
    assert rows["recording"] == "drive"
    assert rows["topic"] in (FRONT, REAR)
    assert rows["file"].startswith("media/drive/0000/")
    page.click("#after")
    assert page.locator("#detail-title").inner_text() != first
    page.click("#before")
    assert page.locator("#detail-title").inner_text() == first
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#detail-title").inner_text() == first
    page.click("#close")
    assert not page.locator("#detail").is_visible()


def test_texts_of_samples_are_texts(page):
    assert page.locator("#injected").count() == 0
    assert page.locator(".sample", has_text="<b id=injected>").count() > 0


def test_light_and_dark_both_show(page, tmp_path):
    folder = Path(os.environ.get("VILA_SCREENSHOTS", tmp_path))
    brightness = []
    for name in ("light", "dark"):
        page.screenshot(path=folder / f"export-preview-{name}.png")
        brightness.append(cv2.imread(str(folder / f"export-preview-{name}.png")).mean())
        page.click("#theme")
    assert brightness[0] > 180 > 90 > brightness[1]


def test_it_fits_a_narrow_screen(browser, exported):
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto((exported / "preview.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
