# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The same tasks on a real Ray cluster, of this machine alone."""

from __future__ import annotations

import builtins
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from test.fleet.test_run import WORKS, files, squares
from vila_ros.errors import InvalidRequest, Unsupported
from vila_ros.fleet.ray_cluster import _refused
from vila_ros.fleet.run import run_tasks

ROOT = Path(__file__).resolve().parents[2]


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


def test_a_cluster_that_wants_a_token_is_told_from_one_that_is_not_there(tmp_path):
    """In a process of its own, as Ray reads what it is told of tokens once."""
    pytest.importorskip("ray", reason="Ray is not installed")
    script = (
        "import socket, sys\nfrom pathlib import Path\n"
        "from test.fleet.test_run import WORKS, squares\n"
        "from vila_ros.errors import InvalidRequest\nfrom vila_ros.fleet.run import run_tasks\n"
        "with socket.create_server(('127.0.0.1', 0)) as server:\n"
        "    address = f'127.0.0.1:{server.getsockname()[1]}'\n"
        "    try:\n"
        "        list(run_tasks(squares(1), f'{WORKS}:square', Path(sys.argv[1]), ray=address))\n"
        "    except InvalidRequest as error:\n"
        "        print(error.message)\n"
    )
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "HOME": str(tmp_path)}
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "ledger")],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "wants a token" in done.stdout, done.stderr
    assert "Set RAY_AUTH_MODE=token" in done.stdout


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            "Failed to connect to GCS. Last connection error: Traceback (most recent call last):\n"
            '  File "x", line 1\nray.exceptions.AuthenticationError: RPC error: InvalidAuthToken',
            "wants a token",
        ),
        (
            "Failed to connect to GCS. Last connection error: Traceback (most recent call last):\n"
            '  File "x", line 1\nray.exceptions.RpcError: Timed out',
            "at 'head:1': ray.exceptions.RpcError: Timed out",
        ),
        ("Two lines.\nOf which the first is told.", "at 'head:1': Two lines."),
    ],
)
def test_one_line_of_an_error_of_rays_is_told(error, says):
    try:
        raise ConnectionError("Failed to connect") from RuntimeError(error)
    except ConnectionError as raised:
        told = _refused("head:1", raised).message
    assert says in told
    assert "Traceback" not in told


def test_without_ray_it_is_said_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "ray":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Unsupported, match=r"pip install ray.*--workers"):
        list(run_tasks(squares(1), f"{WORKS}:square", tmp_path, ray="local"))
