# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The report in a real browser: nothing complains, every control does what it says."""

from __future__ import annotations

import re

import pytest

from test.evaluation.conftest import QUESTIONS
from test.evaluation.test_run import evaluate
from vila_ros.evaluation.report_moments import chosen_moments
from vila_ros.evaluation.types import ScoredAnswer


@pytest.fixture(scope="module")
def report(drives, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    text = QUESTIONS.replace("A short drive", "A <b>short</b> drive & more")
    (folder / "q.yaml").write_text(
        text + "thresholds:\n  - scene all_right > 0.5\n  - stop_sign accuracy > 2\n"
        "  - all latency_p95 < 100 s\n"
    )
    models = ("--model", "one:=see", "--model", "two:=see")
    assert evaluate(drives, folder / "q.yaml", folder / "out", *models) == 1
    return folder / "out"


@pytest.fixture
def page(browser, report):
    complaints: list[str] = []
    opened = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("requestfailed", lambda request: complaints.append(request.url))
    opened.goto((report / "report.html").as_uri())
    yield opened
    opened.close()
    assert complaints == []


def test_it_needs_nothing_from_elsewhere(report):
    text = (report / "report.html").read_text()
    for attribute in re.findall(r"(?:src|href)=['\"]([^'\"]+)", text):
        assert attribute.startswith(("#", "data:")) or attribute == "timings.html"
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert "<b>short</b>" not in text


def test_it_shows_what_was_found(page, tmp_path):
    assert page.locator("h1").inner_text() == "A <b>short</b> drive & more"
    assert page.locator(".pill").inner_text() == "2 of 4 thresholds fail"
    assert page.locator("article.card h3").all_inner_texts() == [
        "stop_sign", "people", "speed", "cone_near", "weather", "scene",
    ]  # fmt: skip
    assert page.locator("svg[role=img][aria-label]").count() == page.locator("svg").count() > 8
    images = page.locator(".moment img")
    assert images.count() > 10
    images.first.scroll_into_view_if_needed()
    assert images.first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 320
    page.screenshot(path=tmp_path / "light.png", full_page=True)


def test_the_theme_is_switched(page, tmp_path):
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.get_by_role("button", name="Switch to dark colours").click()
    dark = page.evaluate(paper)
    assert light != dark
    page.screenshot(path=tmp_path / "dark.png", full_page=True)
    page.get_by_role("button", name="Switch to light colours").click()
    assert page.evaluate(paper) == light


def test_the_answers_are_filtered(page):
    shown = page.locator("#shown")
    everything = shown.inner_text()
    page.get_by_role("combobox", name="Question").select_option("scene")
    assert set(page.locator(".moment:not([hidden]) li:not([hidden])").evaluate_all(
        "items => items.map((item) => item.dataset.question)"
    )) == {"scene"}  # fmt: skip
    page.get_by_role("combobox", name="Model").select_option("two")
    assert shown.inner_text() == "4 answers at 4 moments"
    page.get_by_role("combobox", name="Outcome").select_option("wrong")
    assert shown.inner_text() == "0 answers at 0 moments"
    page.get_by_role("button", name="Clear").click()
    page.wait_for_function(
        "text => document.getElementById('shown').textContent === text", arg=everything
    )
    page.get_by_role("searchbox").fill("STRAIGHT")
    assert shown.inner_text() == "8 answers at 4 moments"


def test_a_moment_opens_and_leads_to_its_neighbours(page):
    page.locator("button.picture").first.click()
    dialog = page.get_by_role("dialog")
    first = dialog.locator("h3").inner_text()
    assert dialog.locator("li").count() > 0
    before, after = (dialog.get_by_role("button", name=name) for name in ("Before", "After"))
    assert before.is_disabled()
    after.click()
    assert dialog.locator("h3").inner_text() != first
    page.keyboard.press("ArrowLeft")
    assert dialog.locator("h3").inner_text() == first
    dialog.get_by_role("button", name="Close").click()
    assert not dialog.is_visible()
    page.locator("button.picture").nth(1).press("Enter")
    assert dialog.is_visible()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_every_link_of_the_navigation_leads_somewhere(page):
    for link in page.locator("header nav a").all():
        link.click()
        assert page.locator(link.get_attribute("href")).count() == 1
    page.locator("footer a").click()
    page.wait_for_url("**/timings.html")
    assert page.locator("h1").inner_text().endswith("how long it took")
    page.get_by_role("button", name="Switch to dark colours").click()
    assert page.get_by_text("all latency_p95 < 100 s").count() == 2


def test_it_fits_a_small_screen(page):
    page.set_viewport_size({"width": 380, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= 380")


def test_many_moments_are_thinned_and_the_worst_are_kept():
    answers = [
        ScoredAnswer("m", "r", "q", number, number, "", 1, 1, 0.0 if number % 10 == 3 else 1.0)
        for number in range(1000)
    ]
    chosen = chosen_moments(answers, 100)
    assert len(chosen) == 100
    assert chosen == sorted(chosen)
    assert sum(stamp % 10 == 3 for _, stamp in chosen) >= 50
    assert chosen[-1][1] > 900
