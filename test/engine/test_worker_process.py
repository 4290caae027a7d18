# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where a worker runs: its interpreter, what it finds there, and what of its output is kept."""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vila_ros
from test.engine.conftest import request, text_of, wait_until
from vila_ros.engine.supervision import SupervisionPolicy
from vila_ros.engine.worker import OOM_SCORE_ADJUSTMENT, QUIET_OPENMP
from vila_ros.engine.worker_process import (
    describe_exit,
    is_own_interpreter,
    last_words,
    printable,
    resolve_interpreter,
    split_level,
    worker_environment,
)
from vila_ros.errors import EngineDown, InvalidRequest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def other_python(tmp_path_factory):
    """Another environment's interpreter, which has numpy and the probe engine, and no more."""
    folder = tmp_path_factory.mktemp("other")
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    subprocess.run([base, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python3.*/site-packages")
    numpy = Path(np.__file__).parent
    for package in (numpy, numpy.with_name("numpy.libs")):
        if package.exists():
            (site / package.name).symlink_to(package)
    shutil.copy(HERE / "probe_engine.py", site)
    return str(folder / "bin" / "python")


def facts(engine) -> dict:
    return json.loads(text_of(engine.generate(request("tell"))))


def test_another_interpreter_needs_neither_this_package_nor_torch_nor_ros(
    supervised, other_python, monkeypatch
):
    ros = sys.prefix
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/opt/ros/kilted{os.pathsep}{ros}")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/opt/ros/kilted/lib:{ros}/lib:/usr/local/cuda/lib64")
    monkeypatch.setenv("PYTHONPATH", f"{ros}/lib/python3/site-packages")
    monkeypatch.setenv("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "1")
    told = facts(supervised("probe_engine:ProbeEngine", interpreter=other_python))
    assert told["executable"] == other_python
    assert Path(told["package"]).samefile(vila_ros.__file__)
    assert told["found"] == ["numpy"]
    assert not {"torch", "rclpy", "transformers"} & set(told["loaded"])
    assert not [entry for entry in told["path"] if entry.startswith(ros) or entry == ""]
    environment = told["environment"]
    assert environment["LD_LIBRARY_PATH"] == "/usr/local/cuda/lib64"
    assert not {"PYTHONPATH", "VIRTUAL_ENV", "_ROS_WHEELS_BOOTSTRAP_COMPLETE"} & set(environment)


def test_the_node_s_own_interpreter_finds_what_the_node_finds(
    supervised, other_python, monkeypatch
):
    site = Path(other_python).parent.parent
    (folder,) = site.glob("lib/python3.*/site-packages")
    monkeypatch.syspath_prepend(str(folder))
    told = facts(supervised("probe_engine:ProbeEngine"))
    assert told["executable"] == sys.executable
    assert {"test.doubles", "torch"} <= set(told["found"])
    assert "torch" not in told["loaded"]


def test_the_worker_is_a_quiet_neighbour(supervised, other_python, monkeypatch):
    for name in QUIET_OPENMP:
        monkeypatch.delenv(name, raising=False)
    engine = supervised("probe_engine:ProbeEngine", interpreter=other_python)
    told = facts(engine)
    assert told["environment"] | QUIET_OPENMP == told["environment"]
    assert told["oom_score_adj"] == OOM_SCORE_ADJUSTMENT
    assert told["session"], "Ctrl-C at the node must not reach the worker"
    wait_until(lambda: engine.status().device_memory_bytes == 12345)


def test_an_interpreter_without_numpy_says_what_it_lacks(supervised, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    engine = supervised(
        interpreter=str(tmp_path / "bare" / "bin" / "python"),
        load=False,
        policy=SupervisionPolicy(load_attempts=1),
    )
    with pytest.raises(EngineDown, match=r"status 1. .*No module named 'numpy'"):
        engine.load()


def test_the_interpreter_of_another_environment_is_not_the_node_s_own(other_python):
    assert is_own_interpreter(sys.executable)
    assert not is_own_interpreter(other_python)
    assert os.path.samefile(os.path.realpath(other_python), os.path.realpath(sys.executable))


def test_an_interpreter_is_found_by_path_by_name_or_not_at_all(tmp_path, monkeypatch):
    assert resolve_interpreter(None) == sys.executable
    (tmp_path / "mypython").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert resolve_interpreter("mypython") == str(tmp_path / "mypython")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_interpreter("~/mypython") == str(tmp_path / "mypython")
    (tmp_path / "text").touch(0o644)
    for name in ("text", str(tmp_path), "nothing"):
        with pytest.raises(InvalidRequest, match="not an executable file"):
            resolve_interpreter(name)


def test_the_own_interpreter_gets_the_node_s_modules_but_not_the_standard_library(tmp_path):
    path = [str(tmp_path), "", *sys.path, str(tmp_path / "missing")]
    added = worker_environment(True, {}, path)["PYTHONPATH"].split(os.pathsep)
    assert added[:2] == [str(tmp_path), os.getcwd()]
    assert os.path.dirname(os.__file__) not in added
    assert not any(entry.endswith(("site-packages/missing", ".zip")) for entry in added)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"plain text \r\n", "plain text"),
        (b" 10%|#    |\r 20%|##   |\n", " 20%|##   |"),
        (b"\xff\x00\x1b[31m\tred\n", r"\xff\x00\x1b[31m" + "\tred"),
        ("größer\n".encode(), "größer"),
        (b"\n", ""),
    ],
)
def test_output_is_shown_as_a_terminal_would_and_safe_to_log(line, shown):
    assert printable(line) == shown


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        ("[WARNING] torch: slow", logging.WARNING, "torch: slow"),
        ("[ERROR] x] y", logging.ERROR, "x] y"),
        ("[notalevel] text", logging.INFO, "[notalevel] text"),
        ("text", logging.INFO, "text"),
        ("WARNING] text", logging.INFO, "WARNING] text"),
        ("[INFO]", logging.INFO, "[INFO]"),
    ],
)
def test_lines_of_python_s_logging_keep_their_level(line, level, text):
    assert split_level(line) == (level, text)


def test_logging_in_the_worker_arrives_with_its_level(supervised):
    lines = []
    engine = supervised(on_log=lambda level, line: lines.append((level, line)))
    with pytest.raises(Exception, match="RuntimeError"):
        text_of(engine.generate(request("!raise")))
    engine.close()
    worker = "vila_ros.engine.worker: "
    error = f"{worker}The engine's generation raised an unforeseen error"
    assert (logging.ERROR, error) in lines
    assert (logging.ERROR, "RuntimeError: the runtime has a bug") in lines
    assert (logging.INFO, "obeying !raise") in lines


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (3, "exited with status 3"),
        (0, "exited with status 0"),
        (-11, "killed by SIGSEGV."),
        (-9, "kernel for want of memory"),
        (-63, "killed by signal 63"),
    ],
)
def test_an_exit_status_is_put_in_words(status, says):
    assert says in describe_exit(status)


def test_the_last_words_are_those_before_python_s_dump_of_stacks():
    dump = ["Fatal Python error: Aborted", "Thread 0x1", '  File "a.py"', "Extension modules: x"]
    assert last_words(["CUDA error: device-side assert", *dump]) == "CUDA error: device-side assert"
    assert last_words(dump) == "Fatal Python error: Aborted"
    assert last_words(["one", "two"]) == "two"
    assert last_words([]) == ""
