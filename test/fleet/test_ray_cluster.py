# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The same tasks on a real Ray cluster, of this machine alone."""

from __future__ import annotations

import builtins
import socket

import pytest

from test.fleet.test_run import WORKS, files, squares
from vila_ros.errors import InvalidRequest, Unsupported
from vila_ros.fleet.run import run_tasks


def test_a_cluster_does_each_task_once_and_survives_its_workers(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed")
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    tasks = squares(5, deaths=str(deaths))
    (deaths / f"{tasks[1].id}-0").touch()
    ledger, here = tmp_path / "ledger", tmp_path / "here"
    first = run_tasks(tasks[:2], f"{WORKS}:die_at", ledger)
    assert next(first).value == 0
    first.close()
    results = list(run_tasks(tasks, f"{WORKS}:die_at", ledger, ray="local"))
    assert [result.value for result in results] == [0, 1, 4, 9, 16]
    assert [result.resumed for result in results] == [True, False, False, False, False]
    assert not list(deaths.iterdir())
    list(run_tasks(tasks, f"{WORKS}:die_at", here))
    assert files(ledger) == files(here)


@pytest.mark.parametrize("address", ["", "head", ":6379", "head:", "head:99999", "head:x"])
def test_an_address_must_be_one(tmp_path, address):
    with pytest.raises(InvalidRequest, match="is no address; write HOST:PORT"):
        list(run_tasks(squares(1), f"{WORKS}:square", tmp_path, ray=address))


def test_where_no_cluster_answers_it_is_said_at_once(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(InvalidRequest, match=r"No Ray cluster answers at .*refused.*--workers"):
            list(run_tasks(squares(1), f"{WORKS}:square", tmp_path, ray=address))


def test_without_ray_it_is_said_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "ray":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Unsupported, match=r"pip install ray.*--workers"):
        list(run_tasks(squares(1), f"{WORKS}:square", tmp_path, ray="local"))
