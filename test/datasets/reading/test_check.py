# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The look through the data: everything unfit is found, named by line, and counted."""

from pathlib import Path

import pytest

from test.datasets.reading.conftest import qa, write_lines
from vila_ros.datasets.reading.check import check_mixture
from vila_ros.datasets.reading.mixture import DatasetEntry, Mixture
from vila_ros.datasets.reading.quality import Repetition, TextLength, load_filter
from vila_ros.datasets.types import Sample
from vila_ros.errors import InvalidRequest, PromptTooLong


@pytest.fixture
def mixture(tmp_path: Path, media: Path) -> Mixture:
    (media / "torn.png").write_bytes((media / "a.png").read_bytes()[:60])
    (media / "no.png").write_text("no picture")
    (media / "no.mp4").write_text("no video")
    records = [
        qa("<image>\nWhat?", "A door.", image="a.png"),
        qa("<image>\nWhat?", "A door.", image="absent.png"),
        qa("<image>\nWhat?", "A door.", image="torn.png"),
        qa("<image>\nWhat?", "A door.", image="no.png"),
        qa("<video>\nWhat?", "A door.", video="no.mp4"),
        qa("<video>\nWhat?", "A door.", video="clip"),
        qa("<image>\nWhat?", "", image="a.png"),
        qa("<image><image>\nWhat?", "A door.", image="a.png"),
        qa("What?", "No."),
    ]
    path = write_lines(tmp_path / "data.jsonl", records)
    with path.open("a") as file:
        file.write('{"torn": \n')
    return Mixture.open([DatasetEntry("data", path, media)])


def test_everything_unfit_is_found(mixture: Mixture):
    report = check_mixture(mixture)
    found = {int(i.origin.rpartition(":")[2]): i.kind for i in report.issues}
    assert found == {
        2: "missing media",
        3: "unreadable media",
        4: "unreadable media",
        5: "unreadable media",
        7: "empty answer",
        8: "marks",
        10: "broken JSON",
    }
    assert report.samples == 10
    assert report.counts["unreadable media"] == 3
    assert report.refused == {0: (1, 2, 3, 4, 6, 7, 9)}
    assert len(mixture.without(report.refused).items(0)) == 3
    assert "absent.png: no such file" in report.issues[0].message


def test_filters_leave_out_with_a_reason(mixture: Mixture):
    report = check_mixture(mixture, [TextLength(least=4)])
    assert [issue.origin.rpartition(":")[2] for issue in report.filtered] == ["9"]
    assert "3 characters to learn, at least 4" in report.filtered[0].message
    assert 8 in report.refused[0]


def test_what_training_would_refuse_is_an_issue(mixture: Mixture):
    def encode(sample: Sample) -> None:
        raise PromptTooLong(f"{sample.origin}: 9000 rows")

    issue = check_mixture(mixture, encode=encode).issues[0]
    assert (issue.kind, issue.message) == ("cannot be encoded", "9000 rows")


def test_repetition_is_seen():
    def sample(text: str) -> Sample:
        from vila_ros.datasets.types import SampleTurn

        return Sample("x", (SampleTurn("text", (text,)),))

    assert Repetition()(sample("go " * 20)) == "1 different words of 20"
    assert Repetition()(sample("the robot turns left at the white door and stops")) == ""


def test_a_filter_of_the_users_own():
    assert load_filter("test.datasets.reading.test_check:keep_nothing")(Sample("x", ())) == "no"
    for name in ("absent:f", "test.datasets.reading.test_check", "json:absent"):
        with pytest.raises(InvalidRequest, match="filter"):
            load_filter(name)


def keep_nothing(sample: Sample) -> str:
    return "no"
