# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every task is done once, whoever is killed when, and the bytes are the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vila_ros.errors import InvalidRequest, UnusableFolder
from vila_ros.fleet.run import run_tasks
from vila_ros.fleet.types import Task, task_id

WORKS = "test.fleet.works"
ROOT = Path(__file__).resolve().parent.parent.parent


def squares(count: int, **arguments: object) -> list[Task]:
    return [Task(task_id(n, "square"), {"number": n, **arguments}) for n in range(count)]


def files(ledger: Path) -> dict[str, bytes]:
    """What the tasks wrote, without what they say of their durations."""
    done = ledger / "done"
    return {
        path.relative_to(done).as_posix(): path.read_bytes()
        for path in sorted(done.rglob("*"))
        if path.is_file() and path.name != "result.json"
    }


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_tasks(tmp_path, workers):
    tasks = [
        Task(task_id(n, "square"), {"number": n, "seconds": 0.2 if n == 0 else 0}) for n in range(6)
    ]
    results = list(run_tasks(tasks, f"{WORKS}:square", tmp_path, workers=workers))
    assert [result.task for result in results] == tasks
    assert [result.value for result in results] == [0, 1, 4, 9, 16, 25]
    assert (results[3].folder / "square.txt").read_text() == "9"
    assert (results[3].folder / "more" / "name.txt").read_text() == tasks[3].id
    assert not any(result.error or result.resumed for result in results)
    assert not list((tmp_path / "parts").iterdir())


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_done_is_not_done_again(tmp_path, workers):
    calls = tmp_path / "calls"
    tasks = squares(4, calls=str(calls))
    ledger = tmp_path / "ledger"
    first = run_tasks(tasks, f"{WORKS}:square", ledger)
    assert [next(first).value, next(first).value] == [0, 1]
    first.close()
    results = list(run_tasks(tasks, f"{WORKS}:square", ledger, workers=workers))
    assert [result.value for result in results] == [0, 1, 4, 9]
    assert [result.resumed for result in results] == [True, True, False, False]
    assert sorted(calls.read_text().split()) == [task.id for task in tasks]


def test_other_arguments_are_another_task(tmp_path):
    list(run_tasks([Task("one", {"number": 3})], f"{WORKS}:square", tmp_path))
    (result,) = run_tasks([Task("one", {"number": 4})], f"{WORKS}:square", tmp_path)
    assert (result.value, result.resumed) == (16, False)
    assert files(tmp_path)["one/square.txt"] == b"16"
    (result,) = run_tasks([Task("two", {"number": 5})], f"{WORKS}:square", tmp_path)
    assert {name.split("/")[0] for name in files(tmp_path)} == {"two"}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failed_task_leaves_nothing_and_the_others_go_on(tmp_path, workers):
    results = list(run_tasks(squares(4), f"{WORKS}:fail_at_odd", tmp_path, workers=workers))
    assert [result.value for result in results] == [0, None, 2, None]
    assert [result.error for result in results] == ["", "number 1 is odd.", "", "number 3 is odd."]
    assert {name.split("/")[0] for name in files(tmp_path)} == {
        task_id(0, "square"),
        task_id(2, "square"),
    }
    assert not list((tmp_path / "parts").iterdir())
    again = list(run_tasks(squares(4), f"{WORKS}:fail_at_odd", tmp_path, workers=workers))
    assert [result.resumed for result in again] == [True, False, True, False]


@pytest.mark.parametrize(
    ("work", "says"),
    [
        ("defect", "ZeroDivisionError: division by zero. This is a defect"),
        ("not_json", "returned what is not JSON"),
        ("no_recording", "No such file or directory: '/no/such/recording'"),
    ],
)
def test_what_a_task_raises_is_one_line(tmp_path, work, says):
    (result,) = run_tasks([Task("one")], f"{WORKS}:{work}", tmp_path)
    assert says in result.error
    assert "\n" not in result.error


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_ends_the_run_and_what_is_done_stays(tmp_path, workers):
    list(run_tasks(squares(2), f"{WORKS}:square", tmp_path))
    with pytest.raises(UnusableFolder, match=r"No space left.*MB are free.*what is done is kept"):
        list(run_tasks(squares(2), f"{WORKS}:full_disk", tmp_path, workers=workers))
    assert not list((tmp_path / "parts").iterdir())


def test_a_worker_that_dies_is_replaced_and_its_task_tried_again(tmp_path):
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    tasks = squares(5, deaths=str(deaths))
    for task, count in ((tasks[1], 1), (tasks[2], 2), (tasks[4], 3)):
        for number in range(count):
            (deaths / f"{task.id}-{number}").touch()
    ledger = tmp_path / "ledger"
    results = list(run_tasks(tasks, f"{WORKS}:die_at", ledger, workers=2))
    assert [result.value for result in results] == [0, 1, 4, 9, None]
    assert "died 3 times at it, the last time by SIGKILL" in results[4].error
    assert (ledger / "done" / tasks[2].id / "half").read_text() == "written"
    # By now nothing kills it any more.
    again = list(run_tasks(tasks, f"{WORKS}:die_at", ledger, workers=2))
    assert [result.value for result in again] == [0, 1, 4, 9, 16]
    assert not list((ledger / "parts").iterdir())


DRIVER = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from test.fleet.test_run import squares
from vila_ros.fleet.run import run_tasks
for result in run_tasks(squares(12, seconds=0.05), "{WORKS}:square", Path(sys.argv[1]), workers=2):
    print(result.value, flush=True)
"""


def driver(ledger: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(ledger)], stdout=subprocess.PIPE, text=True
    )


def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_bytes(tmp_path):
    whole = tmp_path / "whole"
    list(run_tasks(squares(12, seconds=0), f"{WORKS}:square", whole))
    ledger = tmp_path / "ledger"
    done: set[str] = set()
    for reached in (2, 5):
        process = driver(ledger)
        for _ in range(reached):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        # Its workers end by themselves, and what they were at does not count.
        kept = {path.name for path in (ledger / "done").iterdir()}
        assert done <= kept
        done = kept
    assert 5 <= len(done) < 12
    results = list(run_tasks(squares(12, seconds=0.05), f"{WORKS}:square", ledger, workers=2))
    assert [result.value for result in results] == [n**2 for n in range(12)]
    assert {result.task.id for result in results if result.resumed} >= done
    assert files(ledger) == files(whole)
    assert not list((ledger / "parts").iterdir())


def test_what_the_work_prints_is_no_reply(tmp_path, capfd):
    results = list(run_tasks(squares(4), f"{WORKS}:chatty", tmp_path, workers=2))
    assert not any(result.error for result in results)
    assert os.getpid() not in {result.value for result in results}
    assert capfd.readouterr().out == ""


def test_two_runs_do_not_share_a_ledger(tmp_path):
    first = run_tasks(squares(2), f"{WORKS}:square", tmp_path)
    next(first)
    with pytest.raises(UnusableFolder, match="Another run writes into"):
        next(run_tasks(squares(2), f"{WORKS}:square", tmp_path))
    first.close()
    assert len(list(run_tasks(squares(2), f"{WORKS}:square", tmp_path))) == 2


def test_closing_the_iterator_ends_the_workers(tmp_path):
    tasks = [Task("quick", {"number": 1}), Task("slow", {"number": 2, "seconds": 3600})]
    results = run_tasks(tasks, f"{WORKS}:square", tmp_path, workers=2)
    assert next(results).value == 1
    results.close()
    time.sleep(0.1)
    workers = [
        path
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if str(tmp_path).encode() in _read(path)
    ]
    assert workers == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_damaged_result_is_done_again(tmp_path):
    list(run_tasks(squares(1), f"{WORKS}:square", tmp_path))
    result = tmp_path / "done" / task_id(0, "square") / "result.json"
    result.write_text(result.read_text()[:20])
    (again,) = run_tasks(squares(1), f"{WORKS}:square", tmp_path)
    assert (again.value, again.resumed) == (0, False)
    json.loads(result.read_text())


@pytest.mark.parametrize(
    ("tasks", "work", "options", "says"),
    [
        ([Task("a"), Task("a")], "square", {}, "Two tasks have the id 'a'"),
        ([Task("a")], "nothing", {}, "cannot be loaded: module .* has no attribute 'nothing'"),
        ([Task("a")], "square", {"workers": 0}, "workers is 0; it must be from 1"),
        ([Task("a", {"x": object()})], "square", {}, "arguments of task a are not JSON"),
        ([Task("a")], "square", {"attempts": 0}, "attempts is 0"),
    ],
)
def test_wrong_calls_say_what_is_wrong(tmp_path, tasks, work, options, says):
    with pytest.raises(InvalidRequest, match=says):
        run_tasks(tasks, f"{WORKS}:{work}", tmp_path, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a" * 101, "a\n"])
def test_an_id_is_a_plain_file_name(name):
    with pytest.raises(InvalidRequest, match="plain file name"):
        Task(name)


def test_ids_sort_by_number_and_read_by_name():
    assert task_id(12, "front yard (2).mcap") == "000012-front_yard_2_.mcap"
    assert task_id(0, "../../etc/passwd") == "000000-etc_passwd"
    assert task_id(7, "…") == "000007"
    assert Task(task_id(1, "x" * 500)).id.startswith("000001-xxx")
