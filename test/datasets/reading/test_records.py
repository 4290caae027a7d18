# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Records are found in lists and lines, each with its line, broken ones too."""

import json
from pathlib import Path

import pytest

from test.datasets.reading.conftest import write_json, write_lines
from vila_ros.datasets.reading.records import InvalidSample, RecordFile
from vila_ros.errors import InvalidRequest

RECORDS = [{"text": "ä 世界 🙂", "n": 1}, {"n": 2, "in": {"x": [1, 2, "]}"]}}, {"n": 3}]


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_a_list_is_read_whatever_its_layout(tmp_path: Path, indent):
    path = tmp_path / "data.json"
    path.write_text("\n " + json.dumps(RECORDS, indent=indent, ensure_ascii=False) + "\n")
    file = RecordFile(path)
    assert [file.read(i) for i in range(len(file))] == RECORDS
    assert not file.broken


def test_a_list_with_a_byte_order_mark_is_read(tmp_path: Path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps(RECORDS), encoding="utf-8-sig")
    file = RecordFile(path)
    assert [file.read(i) for i in range(len(file))] == RECORDS


def test_lines_are_named(tmp_path: Path):
    path = write_json(tmp_path / "data.json", RECORDS, indent=1)
    lines = path.read_text().splitlines()
    file = RecordFile(path)
    number = int(file.origin(1).rpartition(":")[2])
    assert '"n": 2' in lines[number]
    jsonl = RecordFile(write_lines(tmp_path / "data.jsonl", RECORDS))
    assert jsonl.origin(2) == f"{tmp_path / 'data.jsonl'}:3"


def test_a_broken_line_costs_itself_alone(tmp_path: Path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"n": 1}\n\n{"n": 2\n[3]\n{"n": 4}\n')
    file = RecordFile(path)
    assert len(file) == 4
    assert file.read(3) == {"n": 4}
    with pytest.raises(InvalidSample, match=r"data.jsonl:3: not JSON"):
        file.read(1)
    with pytest.raises(InvalidSample, match=r"data.jsonl:4: a list where a JSON object"):
        file.read(2)


@pytest.mark.parametrize("end", ['{"n": 3', '{"n": 3} {"n": 4}]', ""])
def test_a_torn_list_gives_what_stands_before(tmp_path: Path, end: str):
    path = tmp_path / "data.json"
    path.write_text('[{"n": 1},\n{"n": 2},\n' + end)
    file = RecordFile(path)
    assert [file.read(i)["n"] for i in range(len(file))][:2] == [1, 2]
    (broken,) = file.broken
    assert broken.origin == f"{path}:3"
    assert "nothing behind it can be read" in broken.message


def test_one_object_is_one_record(tmp_path: Path):
    path = tmp_path / "one.json"
    path.write_text(json.dumps(RECORDS[1], indent=2))
    file = RecordFile(path)
    assert [file.read(i) for i in range(len(file))] == [RECORDS[1]]


def test_what_is_no_file_of_records_is_refused(tmp_path: Path):
    (tmp_path / "empty.json").write_text(" \n")
    (tmp_path / "latin.json").write_bytes(b'[{"a": "\xe4"}]')
    with pytest.raises(InvalidRequest, match="an empty file"):
        RecordFile(tmp_path / "empty.json")
    with pytest.raises(InvalidRequest, match="cannot be read"):
        RecordFile(tmp_path / "absent.json")
    (broken,) = RecordFile(tmp_path / "latin.json").broken
    assert "latin.json:1: not UTF-8" in broken.message
