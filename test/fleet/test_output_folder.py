# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An output folder is empty or of the same run; anything else is left as it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from vila_ros.errors import InvalidRequest, UnusableFolder
from vila_ros.fleet import files as files_module
from vila_ros.fleet.output_folder import OutputFolder, model_identity, recording_identity

KIND = "vila export"
PARAMETERS = {"bag": "drive", "every": 2.0, "cameras": ("front", "rear")}


def test_the_same_run_goes_on_and_ends_once(tmp_path):
    out = tmp_path / "deep" / "out"
    with OutputFolder(out, KIND, PARAMETERS) as output:
        assert not output.complete
        output.write("a/one.txt", "1")
        output.ledger.mkdir()
    with OutputFolder(out, KIND, dict(reversed(PARAMETERS.items()))) as output:
        assert not output.complete
        assert output.ledger.exists()
        output.write("a/one.txt", b"2")
        output.finish()
    with OutputFolder(out, KIND, PARAMETERS) as output:
        assert output.complete
    assert (out / "a" / "one.txt").read_text() == "2"
    assert sorted(path.name for path in out.iterdir()) == [".vila", "a"]
    assert sorted(path.name for path in (out / ".vila").iterdir()) == ["lock", "run.json"]


def test_an_empty_folder_is_taken(tmp_path):
    with OutputFolder(tmp_path, KIND, PARAMETERS) as output:
        assert not output.complete


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("kind", "parameters", "says"),
    [
        (KIND, {**PARAMETERS, "every": 3}, r"another run: every was 2.0, now it is 3\. Name"),
        (KIND, {"bag": "drive"}, r'cameras was \["front", "rear"\], now it is absent; every was'),
        ("vila evaluate", PARAMETERS, "it is of vila export, this is vila evaluate"),
    ],
)
def test_a_folder_of_another_run_is_refused(tmp_path, kind, parameters, says):
    with OutputFolder(tmp_path, KIND, PARAMETERS) as output:
        output.write("one.txt", "1")
    before = snapshot(tmp_path)
    with pytest.raises(UnusableFolder, match=says), OutputFolder(tmp_path, kind, parameters):
        pass
    assert snapshot(tmp_path) == before


def test_what_differs_is_told_where_it_stands(tmp_path):
    first = {"recordings": {"a": {"bytes": 1}, "b": {"bytes": 2}}, "questions": "x: 1\ny: 2\n"}
    second = {"recordings": {"a": {"bytes": 1}, "c": {"bytes": 2}}, "questions": "x: 1\ny: 3\n"}
    with OutputFolder(tmp_path, KIND, first):
        pass
    with (
        pytest.raises(
            UnusableFolder,
            match=r"line 2 of questions was \"y: 2\", now it is \"y: 3\"; "
            r"recordings.b was {\"bytes\": 2}, now it is absent; recordings.c was absent",
        ),
        OutputFolder(tmp_path, KIND, second),
    ):
        pass


def test_another_version_is_another_run(tmp_path, monkeypatch):
    with OutputFolder(tmp_path, KIND, PARAMETERS):
        pass
    monkeypatch.setattr("vila_ros.fleet.output_folder.__version__", "9.9")
    with (
        pytest.raises(UnusableFolder, match=r"version was \d.*, now it is 9.9"),
        OutputFolder(tmp_path, KIND, PARAMETERS),
    ):
        pass


def test_a_folder_with_other_files_is_refused(tmp_path):
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).touch()
    with (
        pytest.raises(UnusableFolder, match=r"holds 4 files that no run .*\(a, b, c, …\)"),
        OutputFolder(tmp_path, KIND, PARAMETERS),
    ):
        pass
    assert len(list(tmp_path.iterdir())) == 4


def test_damaged_notes_are_refused(tmp_path):
    (tmp_path / ".vila").mkdir()
    (tmp_path / ".vila" / "run.json").write_text("{")
    with (
        pytest.raises(UnusableFolder, match="damaged, so it is not known"),
        OutputFolder(tmp_path, KIND, PARAMETERS),
    ):
        pass


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UnusableFolder, match="is a file; name a folder"),
        OutputFolder(tmp_path / "file", KIND, PARAMETERS),
    ):
        pass


def test_two_runs_do_not_write_at_once(tmp_path):
    with (
        OutputFolder(tmp_path, KIND, PARAMETERS),
        pytest.raises(UnusableFolder, match="Another run writes into"),
        OutputFolder(tmp_path, KIND, PARAMETERS),
    ):
        pass
    with OutputFolder(tmp_path, KIND, PARAMETERS):
        pass


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    with OutputFolder(tmp_path, KIND, PARAMETERS) as output:
        output.write("report.json", "old")

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(files_module.os, "fsync", full)
        with pytest.raises(UnusableFolder, match=r"No space left .*MB are free.*what is done is"):
            output.write("report.json", "new")
        monkeypatch.undo()
    assert (tmp_path / "report.json").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".vila", "report.json"]


@pytest.mark.parametrize("name", ["../up", "/etc/x", ".vila/run.json", "", "a/../../b"])
def test_names_stay_inside(tmp_path, name):
    with OutputFolder(tmp_path, KIND, PARAMETERS) as output:
        with pytest.raises(InvalidRequest, match="no name inside"):
            output.write(name, "x")
        with pytest.raises(InvalidRequest, match="no name inside"):
            output.adopt(tmp_path, name)


def test_a_tasks_files_are_moved_into_place(tmp_path):
    part = tmp_path / "part"
    part.mkdir()
    (part / "one").write_text("new")
    with OutputFolder(tmp_path / "out", KIND, PARAMETERS) as output:
        output.write("kept/old", "old")
        output.adopt(part, "kept")
    assert snapshot(tmp_path / "out" / "kept") == {str(tmp_path / "out" / "kept" / "one"): b"new"}
    assert not part.exists()


def test_a_model_that_was_trained_anew_is_another(tmp_path):
    (tmp_path / "weights").write_bytes(b"old")
    before = model_identity(str(tmp_path))
    assert model_identity(str(tmp_path)) == before
    (tmp_path / "weights").write_bytes(b"new")
    os.utime(tmp_path / "weights", ns=(1, 1))
    assert model_identity(str(tmp_path)) != before
    assert model_identity("Efficient-Large-Model/VILA1.5-3b") == {
        "name": "Efficient-Large-Model/VILA1.5-3b"
    }


def test_parameters_are_json(tmp_path):
    with pytest.raises(InvalidRequest, match="parameters of vila export are not JSON"):
        OutputFolder(tmp_path, KIND, {"x": float("nan")})


def test_a_recording_is_known_by_its_place_and_size(tmp_path):
    bag = tmp_path / "bag"
    bag.mkdir()
    (bag / "a.mcap").write_bytes(bytes(10))
    (bag / "metadata.yaml").write_bytes(bytes(5))
    assert recording_identity(bag) == {"path": str(bag), "bytes": 15}
    assert recording_identity(bag / "a.mcap")["bytes"] == 10
