# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Mixtures: names, factors, registries, and the same order for the same seed."""

from collections import Counter
from pathlib import Path

import pytest

from test.datasets.reading.conftest import qa, write_json, write_lines
from vila_ros.datasets.reading.mixture import Mixture, parse_mixture, read_registry
from vila_ros.errors import InvalidRequest

REGISTRY = """
drives:
  _target_: llava.data.LLaVADataset
  data_path: drives.json
  media_dir: media
  is_video: true
captions: {data_path: captions.jsonl}
all: [drives*2, captions]
most: [all*0.5, drives]
"""


@pytest.fixture
def registry(tmp_path: Path, media: Path) -> Path:
    write_json(tmp_path / "drives.json", [qa("What?", f"{n}") for n in range(10)])
    write_lines(tmp_path / "captions.jsonl", [{"text": f"Text {n}."} for n in range(4)])
    path = tmp_path / "data.yaml"
    path.write_text(REGISTRY)
    return path


def test_a_registry_of_upstreams_form(registry: Path, media: Path):
    read = read_registry(registry)
    assert read.datasets["drives"].path == registry.parent / "drives.json"
    assert read.datasets["drives"].media == media
    assert read.mixtures["all"] == ("drives*2", "captions")


def test_names_factors_and_mixtures_of_mixtures(registry: Path):
    def factors(text: str) -> list[tuple[str, float]]:
        found = parse_mixture(text, read_registry(registry))
        return [(entry.name, entry.factor) for entry in found]

    assert factors("drives") == [("drives", 1)]
    assert factors("captions*3+drives*0.5") == [("captions", 3), ("drives", 0.5)]
    assert factors("most*2") == [("drives", 2), ("captions", 1), ("drives", 2)]
    assert factors(str(registry.parent / "captions.jsonl") + "*2") == [("captions", 2)]


def test_a_factor_repeats_and_its_fraction_takes_a_part(registry: Path):
    mixture = Mixture.open(parse_mixture("drives*2.5+captions", read_registry(registry)))
    items = mixture.items(seed=3)
    counts = Counter(map(tuple, items.tolist()))
    assert len(items) == 29
    assert sorted(counts[0, index] for index in range(10)) == [2] * 5 + [3] * 5
    assert [counts[1, index] for index in range(4)] == [1] * 4
    assert (items == mixture.items(seed=3)).all()
    assert (items != mixture.items(seed=4)).any()


def test_what_is_refused_is_left_out_and_the_end_is_held_out(registry: Path):
    mixture = Mixture.open(parse_mixture("drives", read_registry(registry)))
    training, held_out = mixture.without({0: [1, 9]}).split(0.25)
    assert training.kept[0].tolist() == [0, 2, 3, 4, 5, 6]
    assert held_out.kept[0].tolist() == [7, 8]
    assert held_out.sample(held_out.items(0)[0]).turns[1].parts == ("7",)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nothing", r"'nothing' is neither a file nor known \(drives, captions, all, most\)"),
        ("drives*0", "the factor behind \\* is '0'"),
        ("drives*x", "the factor behind \\* is 'x'"),
        ("", "neither a file nor known"),
    ],
)
def test_an_unknown_mixture_is_refused(registry: Path, text: str, complaint: str):
    with pytest.raises(InvalidRequest, match=complaint):
        parse_mixture(text, read_registry(registry))


@pytest.mark.parametrize(
    ("yaml", "complaint"),
    [
        ("a: [", "cannot be read as YAML"),
        ("a: 3", "a is neither a dataset"),
        ("a: {media_dir: x}", "a has no data_path"),
        ("a: {data_path: x, _target_: llava.data.Other}", "a is a Other"),
        ("a: {data_path: x, num_video_frames: 0}", "num_video_frames is 0"),
        ("- a", "expected names"),
    ],
)
def test_a_wrong_registry_is_refused(tmp_path: Path, yaml: str, complaint: str):
    path = tmp_path / "data.yaml"
    path.write_text(yaml)
    with pytest.raises(InvalidRequest, match=complaint):
        read_registry(path)


def test_a_mixture_that_holds_itself_is_refused(tmp_path: Path):
    path = tmp_path / "data.yaml"
    path.write_text("a: [b]\nb: [a*2]\n")
    with pytest.raises(InvalidRequest, match="holds itself: a > b > a"):
        parse_mixture("a", read_registry(path))


def test_a_missing_media_folder_is_refused(registry: Path):
    entries = parse_mixture(str(registry.parent / "drives.json"), media=Path("/nowhere"))
    with pytest.raises(InvalidRequest, match="media folder /nowhere is not there"):
        Mixture.open(entries)
