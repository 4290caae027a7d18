# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The review page in a real browser: what is clicked and typed is on disk, and nothing is lost."""

import pytest

from vila_ros.annotation.coda_lm import SUMMARY
from vila_ros.annotation.store import AnnotationFolder

FIRST, SECOND, THIRD = (f"drive-front-{number:05d}" for number in range(3))


class Page:
    """A tab, what it complained about, and what is on disk."""

    def __init__(self, browser, serving, forgives="\0", **options):
        """forgives: what the browser itself is to complain about."""
        self.forgives = forgives
        options = {"viewport": {"width": 1500, "height": 900}, **options}
        self.context = browser.new_context(**options)
        self.tab = self.context.new_page()
        self.complaints = []
        self.tab.on("console", lambda message: self._note(message.type, message.text))
        self.tab.on("pageerror", lambda error: self._note("error", str(error)))
        self.serving = serving
        self.tab.goto(serving.server.url)
        self.tab.wait_for_selector("html[data-ready=true]")

    def _note(self, kind, text):
        if kind in ("error", "warning") and self.forgives not in text:
            self.complaints.append(text)

    def find(self, selector):
        return self.tab.locator(selector)

    def press(self, *keys):
        for key in keys:
            self.tab.keyboard.press(key)

    def saved(self):
        self.tab.wait_for_selector('#saving[data-state="saved"]')

    def opened(self, candidate):
        self.tab.wait_for_function("id => location.hash === '#' + id", arg=candidate)

    def review(self, candidate=FIRST):
        return AnnotationFolder(self.serving.folder.path).review(candidate)

    def until(self, written):
        """Wait for what the page does not show, because another candidate is open already."""
        for _ in range(200):
            if written():
                break
            self.tab.wait_for_timeout(50)

    def boxes(self, candidate=FIRST):
        return list(self.review(candidate).annotation["region_perception"].values())

    def on_screen(self, x, y):
        """Where a pixel of the frame is on the screen."""
        return self.tab.evaluate(
            "([x, y]) => { const p = new DOMPoint(x, y).matrixTransform("
            "document.getElementById('canvas').getScreenCTM()); return [p.x, p.y]; }",
            [x, y],
        )

    def drag(self, start, end):
        """Drag with the mouse, in pixels of the frame."""
        mouse = self.tab.mouse
        mouse.move(*self.on_screen(*start))
        mouse.down()
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        mouse.move(*self.on_screen(*middle))
        mouse.move(*self.on_screen(*end))
        mouse.up()


@pytest.fixture
def look(browser):
    """Open tabs; at the end none of them may have complained."""
    tabs = []

    def look(serving, **options):
        tabs.append(Page(browser, serving, **options))
        return tabs[-1]

    yield look
    complaints = [text for tab in tabs for text in tab.complaints]
    for tab in tabs:
        tab.context.close()
    assert not complaints


def test_a_box_is_drawn_named_moved_resized_and_deleted_by_mouse(serve, look):
    page = look(serve())
    page.drag((300, 60), (400, 130))
    page.tab.keyboard.type("dog")  # the category has the focus already
    page.saved()
    drawn = page.boxes()[1]
    assert drawn["box"] == pytest.approx([300, 60, 100, 70], abs=1.5)
    assert drawn["category_name"] == "dog"
    page.drag((350, 100), (370, 140))
    page.saved()
    assert page.boxes()[1]["box"] == pytest.approx([320, 100, 100, 70], abs=2.5)
    handle = page.find("[data-handle=se]").bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    page.tab.mouse.move(x, y)
    page.tab.mouse.down()
    page.tab.mouse.move(x + 60, y + 30)
    page.tab.mouse.up()
    page.saved()
    grown = page.boxes()[1]["box"]
    assert grown[:2] == pytest.approx([320, 100], abs=2.5)
    assert grown[2] > 120
    assert grown[3] > 80
    page.press("Delete")
    page.saved()
    assert len(page.boxes()) == 1
    page.press("Control+z")
    page.saved()
    assert page.boxes()[1]["box"] == grown
    page.press("Control+Shift+Z")
    page.saved()
    page.find(".region .remove").click()
    page.saved()
    assert page.boxes() == []
    review = page.review()
    assert (review.verdict, review.edited, review.reviewer) == ("pending", True, "Ada")


def test_everything_can_be_done_by_keyboard(serve, look, tmp_path):
    page = look(serve())
    page.press("n")
    page.saved()
    before = page.boxes()[1]["box"]
    page.press("Shift+ArrowRight", "ArrowDown", "Alt+ArrowRight", "Alt+ArrowDown")
    page.saved()
    x, y, width, height = before
    assert page.boxes()[1]["box"] == [x + 10, y + 1, width + 1, height + 1]
    page.press("Enter")
    page.tab.keyboard.type("traffic_cone")
    page.press("Escape", "Escape", "e")
    page.press("Control+a")
    page.tab.keyboard.type("a cone lies on the road")
    page.press("Control+Enter")
    page.opened(SECOND)
    page.until(lambda: page.review().verdict == "accepted")
    review = page.review()
    assert (review.verdict, review.edited) == ("accepted", True)
    assert review.annotation["general_perception"][SUMMARY] == "a cone lies on the road"
    assert page.boxes()[1]["category_name"] == "traffic_cone"
    page.press("r")
    page.opened(THIRD)
    assert page.review(SECOND).verdict == "rejected"
    page.press("u")
    page.opened(SECOND)
    page.tab.wait_for_selector("#verdict.pending")
    assert page.review(SECOND).verdict == "pending"
    page.press("u")
    page.opened(FIRST)
    page.tab.wait_for_selector("#verdict.pending")
    assert page.review(FIRST).verdict == "pending"
    page.press("j", "j")
    page.opened(THIRD)
    page.press("k")
    page.opened(SECOND)
    page.press("?")
    assert page.find("#help").is_visible()
    page.press("Escape")
    assert not page.find("#help").is_visible()
    page.press("/")
    page.tab.keyboard.type("motion number 3")
    assert page.find(".row").count() == 1
    page.press("Escape")
    shot = tmp_path / "keyboard.png"
    page.tab.screenshot(path=str(shot))
    assert shot.stat().st_size > 20_000


def test_every_control_does_what_it_says(serve, look, tmp_path):
    page = look(serve())
    page.find("#accept").click()
    page.opened(SECOND)
    page.find("#reject").click()
    page.opened(THIRD)
    assert page.find("#progress-text").inner_text() == "2 of 6 decided"
    assert page.find("#track").get_attribute("aria-valuenow") == "2"
    for verdict, count in (("accepted", 1), ("rejected", 1), ("", 6), ("pending", 4)):
        page.find(f'.segments [data-verdict="{verdict}"]').click()
        assert page.find(".row").count() == count
    page.find("#miner").select_option("novelty")
    assert page.find(".row").count() == 1
    page.find("#miner").select_option("")
    page.find("#recording").select_option("0")
    page.find("#order").select_option("time")
    assert page.find(".row").count() == 4
    page.find(".row").nth(3).click()
    page.find("#previous").click()
    page.find("#next").click()
    page.find('.segments [data-verdict=""]').click()
    page.find(f'.row[data-id="{FIRST}"]').click()
    page.opened(FIRST)
    assert page.find("#verdict").inner_text() == "accepted"
    page.find("#undo").click()  # of the last decision, which was to reject the second
    page.opened(SECOND)
    page.tab.wait_for_selector("#verdict.pending")

    page.find("#add-box").click()
    page.saved()
    assert page.find(".box").count() == 2
    page.find("#toggle-boxes").click()
    assert page.find(".box").count() == 0
    page.find("#toggle-boxes").click()
    for control, zoom in (("in", "150%"), ("in", "225%"), ("out", "150%"), ("fit", "100%")):
        page.find(f"#zoom-{control}").click()
        assert page.find("#zoom").inner_text() == zoom

    page.find('[aria-label="Add to barriers"]').click()
    page.tab.keyboard.type("a fence")
    page.find("#field-barriers-0-explanation").fill("it narrows the road")
    page.find('[aria-label="Remove vehicles 1"]').click()
    page.find("#field-suggestion").fill("stop")
    page.find("#field-note").fill("ask Ben")
    page.find("#reviewer").fill("Grace")
    page.find("#reviewer").blur()
    page.saved()
    review = page.review(SECOND)
    general = review.annotation["general_perception"]
    assert general["barriers"] == [{"description": "a fence", "explanation": "it narrows the road"}]
    assert general["vehicles"] == []
    assert (review.annotation["driving_suggestion"], review.note) == ("stop", "ask Ben")
    page.find("text=History").click()
    assert page.find(".history li").last.inner_text().endswith("edit → pending by Grace")
    page.find("#accept").click()
    page.opened(THIRD)
    assert page.review(SECOND).reviewer == "Grace"
    page.find("text=Drafted by tiny (torch)").click()
    page.find("summary >> text=Frame").click()
    assert "stamp 17000000" in page.find("details[open] pre").last.inner_text()

    page.find("#show-help").click()
    page.find("#help button").click()
    themes = []
    for _ in range(3):
        page.find("#theme").click()
        themes.append(page.find("html").get_attribute("data-theme"))
        page.tab.screenshot(path=str(tmp_path / f"{themes[-1]}.png"))
    assert themes == ["dark", "light", "auto"]
    assert page.find("html").evaluate("e => e.scrollWidth <= innerWidth")


def test_moments_before_and_after_are_shown(serve, look):
    page = look(serve())
    own = page.find("#picture").get_attribute("href")
    page.tab.wait_for_selector(".moment.own")
    labels = page.find(".moment span").all_inner_texts()
    assert labels[0] == "−0.50 s"
    assert "frame" in labels
    page.press("ArrowRight")
    assert page.find("#elsewhere").inner_text().startswith("0.30 s after the frame")
    assert page.find(".box").count() == 0  # boxes belong to the frame alone
    assert page.find("#picture").get_attribute("href") != own
    page.find(".moment").first.click()
    assert page.find("#elsewhere").inner_text().startswith("0.50 s before the frame")
    page.find("#return").click()
    assert page.find("#picture").get_attribute("href") == own
    assert page.find(".box").count() == 1
    page.find("#play").click()
    page.tab.wait_for_selector("#play.playing")
    page.find("#play").click()
    assert page.find("#play.playing").count() == 0
    page.press("Escape")
    assert page.find("#picture").get_attribute("href") == own
    loaded = "img => img.complete && img.naturalWidth > 0"
    page.tab.wait_for_function(f"[...document.querySelectorAll('.moment img')].every({loaded})")


@pytest.mark.parametrize("keep", ["mine", "theirs"])
def test_two_tabs_do_not_overwrite_each_other(serve, look, keep):
    serving = serve()
    mine, theirs = look(serving, forgives="409"), look(serving)
    theirs.find("#field-summary").fill("theirs")
    theirs.saved()
    mine.find("#field-summary").fill("mine")
    mine.tab.wait_for_selector("#conflict", state="visible")
    assert mine.review().annotation["general_perception"][SUMMARY] == "theirs"
    mine.find("#accept").click()  # is not taken before this is settled
    assert mine.review().verdict == "pending"
    mine.find("#keep-mine" if keep == "mine" else "#take-theirs").click()
    mine.saved()
    assert mine.find("#conflict").is_hidden()
    assert mine.find("#field-summary").input_value() == keep
    assert mine.review().annotation["general_perception"][SUMMARY] == keep
    mine.find("#accept").click()
    mine.opened(SECOND)
    mine.until(lambda: mine.review().verdict == "accepted")
    assert mine.review().verdict == "accepted"


def test_what_cannot_be_saved_is_kept_and_saved_later(serve, look):
    serving = serve()
    page = look(serving, forgives="ERR_CONNECTION")
    serving.server.close()
    page.find("#field-summary").fill("typed while the server was away")
    page.tab.wait_for_selector('#saving[data-state="failed"]')
    page.find("#next").click()
    page.tab.wait_for_selector("#toast:not([hidden])")
    assert page.tab.url.endswith(FIRST)
    serving.restart()
    page.saved()
    text = page.review().annotation["general_perception"][SUMMARY]
    assert text == "typed while the server was away"


def test_what_is_typed_last_is_saved_when_the_page_is_closed(serve, look):
    page = look(serve())
    page.find("#field-summary").fill("the last word")
    page.tab.goto("about:blank")
    page.until(lambda: page.review().revision)
    assert page.review().annotation["general_perception"][SUMMARY] == "the last word"


def test_ten_thousand_candidates_are_a_list_like_any_other(serve, look):
    page = look(serve(count=10_000))
    assert page.find("#count").inner_text() == "10,000 candidates"
    assert page.find(".row").count() < 40
    page.find("#list").evaluate("list => { list.scrollTop = list.scrollHeight; }")
    last = page.find('.row[data-id="drive-front-09999"]')
    last.click()
    page.opened("drive-front-09999")
    assert page.find(".row").count() < 40
    page.find("#search").fill("number 77")
    assert page.find("#count").inner_text() == "280 of 10,000 candidates"
    page.find("#search").fill("")
    page.find("#list").focus()
    page.press("Home")
    page.opened("drive-front-00000")
    page.press("ArrowDown")
    page.opened("drive-front-00001")
    page.press("a")
    page.opened("drive-front-00002")
    page.until(lambda: page.review("drive-front-00001").verdict == "accepted")
    assert page.review("drive-front-00001").verdict == "accepted"


def test_a_narrow_screen_has_everything_below_each_other(serve, look, tmp_path):
    page = look(serve(), viewport={"width": 420, "height": 860}, color_scheme="dark")
    assert page.find("#queue").is_hidden()
    page.find("#show-queue").click()
    page.find(".row").nth(1).click()
    page.opened(SECOND)
    page.press("Escape")
    page.find("#accept").click()
    page.opened(THIRD)
    page.tab.screenshot(path=str(tmp_path / "narrow.png"), full_page=True)
    assert page.find("html").evaluate("e => e.scrollWidth <= innerWidth")


def test_every_control_has_a_name_and_text_can_be_read(serve, look):
    serving = serve()
    for scheme in ("dark", "light"):
        page = look(serving, color_scheme=scheme)
        nameless = page.tab.evaluate(
            """() => [...document.querySelectorAll('button, input, select, textarea, [role]')]
            .filter(e => !e.closest('dialog') && !(
                e.getAttribute('aria-label') || e.labels?.length || e.innerText?.trim()
                || e.getAttribute('aria-labelledby') || e.title || e.id === 'toast'))
            .map(e => e.outerHTML.slice(0, 120))"""
        )
        assert not nameless
        assert worst_contrast(page.tab) >= 4.5


def worst_contrast(tab):
    """Of the page's colours for text on those it stands on (WCAG 2.2, 1.4.3)."""
    return tab.evaluate(
        """() => {
        const probe = document.createElement('span');
        document.body.append(probe);
        const light = (name) => {
            probe.style.color = `var(--${name})`;
            const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3);
            const [r, g, b] = parts.map(v => v / 255).map(
                v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const pairs = [['text', 'panel'], ['text', 'raised'], ['text', 'bg'], ['muted', 'panel'],
            ['muted', 'raised'], ['muted', 'bg'], ['accent', 'accent-soft'], ['good', 'good-soft'],
            ['bad', 'bad-soft'], ['bad', 'panel'], ['panel', 'good'], ['on-accent', 'accent'],
            ['text', 'accent-soft'], ['muted', 'accent-soft'], ['warn', 'raised']];
        const ratio = ([one, other]) => {
            const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
            return (high + 0.05) / (low + 0.05);
        };
        const worst = Math.min(...pairs.map(ratio));
        probe.remove();
        return worst;
    }"""
    )


def test_an_empty_folder_says_so(serve, look):
    page = look(serve(count=0))
    assert page.find("#empty").inner_text().startswith("There is nothing to review")
    page.press("a", "r", "u", "j", "n", "Delete")
