# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

import pytest

from vila_ros.datasets.template import InvalidTemplate, Words, fill, parse_template

GOOD = """\
values:
  speed: {topic: /speed, field: data, match: linear, max_gap: 0.2}
words:
  pace: [[8, slow], [10, steady], fast]
  gear: {0: parked, 1: forward}
samples:
  - name: pace
    question: ["How fast?", "What speed?"]
    answer: "{speed|pace}, {speed:.1f} m/s, {{exactly}}"
    when: {speed: [0.5, 40]}
"""


def test_a_template_is_read():
    template = parse_template(GOOD)
    (rule,) = template.samples
    assert template.values[0].match == "linear"
    assert rule.turns[0].questions == ("How fast?", "What speed?")
    assert (rule.every, rule.media, rule.when) == (1.0, "image", {"speed": (0.5, 40.0)})
    assert template.used_values(rule) == ("speed",)


@pytest.mark.parametrize(
    ("speed", "text"),
    [(7.99, "slow, 8.0 m/s, {exactly}"), (8, "steady, 8.0 m/s, {exactly}"),
     (10, "fast, 10.0 m/s, {exactly}")],
)  # fmt: skip
def test_placeholders_are_filled_with_numbers_and_words(speed, text):
    template = parse_template(GOOD)
    answer = template.samples[0].turns[0].answer
    assert fill(answer, {"speed": speed}, template.words) == text


def test_words_by_name_say_nothing_of_other_values():
    words = Words(names={0: "parked", True: "yes"})
    assert (words.of(0), words.of(7)) == ("parked", None)
    assert fill("{gear|gear}", {"gear": 7}, {"gear": words}) is None


@pytest.mark.parametrize(
    ("change", "line", "says"),
    [
        (("match: linear", "match: cubic"), 2, "match is 'cubic'; there are nearest, linear, last"),
        (("topic: /speed", "topics: /speed"), 2, "has 'topics'; known are field, match"),
        (("topic: /speed, ", ""), 2, "needs either a topic or a type"),
        (("max_gap: 0.2", "max_gap: -1"), 2, "max_gap is -1; it must be a number from 0 to 3600"),
        (("[[8, slow], [10, steady], fast]", "[[8, slow], [7, steady], fast]"), 4, "must rise"),
        (("[[8, slow], [10, steady], fast]", "[[8, slow]]"), 4, "must be [[limit, word], …, word]"),
        (("name: pace", "name: a pace"), 7, "use letters, digits, _ and -"),
        (("{speed:.1f}", "{velocity:.1f}"), 7, "names the value 'velocity', not under values"),
        (("speed|pace", "speed|tempo"), 7, "names the words 'tempo', not under words"),
        (("{speed:.1f}", "{speed:.1q}"), 7, "has the format '.1q'"),
        (("{{exactly}}", "{exactly"), 7, "has a brace without its partner"),
        (("How fast?", "How <image> fast?"), 7, "stand in questions of media images alone"),
        (("    when: {speed: [0.5, 40]}", "    when: {speed: 3}"), 7, "must be [low, high]"),
        (("    when: {speed: [0.5, 40]}", "    media: film"), 7, "media is 'film'"),
        (("    when: {speed: [0.5, 40]}", "    media: video\n    every: 0"), 7, "every is 0"),
        (("    when: {speed: [0.5, 40]}", "    frames: 2"), 7, "frames is 2"),
        (("samples:", "samples: 3\nrest:"), 1, "has 'rest'; known are samples, values, words"),
        (("[[8, slow]", "[[8, slow"), 4, "expected"),
    ],
)
def test_an_error_names_the_file_and_the_line(change, line, says):
    assert change[0] in GOOD
    with pytest.raises(InvalidTemplate) as caught:
        parse_template(GOOD.replace(*change), "drive.yaml")
    assert says in caught.value.message
    found = caught.value.message.split(":")
    assert found[0] == "drive.yaml"
    assert abs(int(found[1]) - line) <= 1


def test_two_rules_of_one_name_are_refused():
    twice = GOOD + '  - {name: pace, question: "a?", answer: b}\n'
    with pytest.raises(InvalidTemplate, match="two samples are named 'pace'"):
        parse_template(twice)


def test_wordings_must_show_as_many_pictures():
    text = """\
samples:
  - {name: change, media: images, over: 1, question: ["<image> or <image>?", "<image>?"], answer: a}
"""
    with pytest.raises(InvalidTemplate, match="differ in their number of <image>"):
        parse_template(text)


def test_the_template_of_the_documentation_is_one():
    page = Path(__file__).resolve().parents[2] / "docs/export.md"
    (text,) = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    assert [rule.media for rule in parse_template(text).samples] == ["image", "images", "video"]
