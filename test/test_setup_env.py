# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Set-up: skips what is done, repeats what was interrupted, says what failed."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "setup_env.py"


@pytest.fixture
def setup_env(tmp_path, monkeypatch):
    """The script as a module, working on an empty folder instead of this checkout."""
    spec = importlib.util.spec_from_file_location("setup_env", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "STAMPS", tmp_path / ".venv" / "stamps")
    module.STAMPS.mkdir(parents=True)
    return module


def test_a_finished_stage_is_skipped_until_its_key_changes(setup_env):
    done = []
    for key in ("1", "1", "2"):
        setup_env.stage("build", key, lambda: done.append(1), "building")
    assert len(done) == 2


def test_an_interrupted_stage_is_repeated(setup_env):
    def interrupted():
        raise KeyboardInterrupt

    setup_env.stage("build", "1", lambda: None, "building")
    with pytest.raises(KeyboardInterrupt):
        setup_env.stage("build", "2", interrupted, "building")
    done = []
    # Even the key that had once succeeded: what the interrupted stage left behind is unknown.
    setup_env.stage("build", "1", lambda: done.append(1), "building")
    assert done


def test_a_package_over_which_pip_was_killed_is_installed_anew(setup_env):
    site = setup_env.VENV / "lib" / "python3.11" / "site-packages"
    for name, files in (("whole-1", ("METADATA", "RECORD")), ("half-1", ("METADATA",))):
        (site / f"{name}.dist-info").mkdir(parents=True)
        for file in files:
            (site / f"{name}.dist-info" / file).touch()
    setup_env.forget_half_installed()
    assert [path.name for path in site.iterdir()] == ["whole-1.dist-info"]


def test_a_sourced_ros_of_another_interpreter_is_refused_before_anything_is_installed(
    setup_env, monkeypatch
):
    monkeypatch.setattr(setup_env, "imports", lambda module: False)
    with pytest.raises(setup_env.SetupError, match=r"ROS 2 jazzy is sourced.*rclpy.*PYTHON="):
        setup_env.check_machine("jazzy")


def test_a_failing_command_shows_the_end_of_its_output(setup_env):
    command = [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"]
    with pytest.raises(setup_env.SetupError, match=r"(?s)status 3.*the reason.*to resume"):
        setup_env.run("build", command)


def test_wheels_are_pointed_at_this_environment(setup_env):
    exported = setup_env.VENV / "share" / "some_msgs" / "cmake" / "export.cmake"
    exported.parent.mkdir(parents=True)
    cached = setup_env.ROOT / "cached.cmake"
    cached.write_text(f'include("{setup_env.WHEEL_PREFIX}/include/python3.11")\n')
    exported.hardlink_to(cached)
    binary = exported.with_name("library.bin")
    binary.write_bytes(b"\0" + setup_env.WHEEL_PREFIX.encode())
    (setup_env.VENV / "include").mkdir()
    for _ in range(2):
        setup_env.mend_wheels()
    assert exported.read_text() == f'include("{setup_env.VENV}/include/python3.11")\n'
    assert setup_env.WHEEL_PREFIX in cached.read_text()
    assert setup_env.WHEEL_PREFIX.encode() in binary.read_bytes()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    assert (setup_env.VENV / "include" / version / "Python.h").is_file()


def test_refuses_an_interpreter_without_wheels(setup_env, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    with pytest.raises(setup_env.SetupError, match=r"not for 3\.14.*PYTHON="):
        setup_env.check_machine("")


def test_refuses_the_interpreter_of_the_environment_itself(setup_env, monkeypatch):
    monkeypatch.setattr(setup_env.sys, "prefix", str(setup_env.VENV))
    with pytest.raises(setup_env.SetupError, match="would replace itself"):
        setup_env.check_machine("")


def test_refuses_a_full_disk_before_it_starts(setup_env, monkeypatch):
    usage = setup_env.shutil.disk_usage("/")
    monkeypatch.setattr(setup_env.shutil, "disk_usage", lambda _: usage._replace(free=10**9))
    with pytest.raises(setup_env.SetupError, match=r"1\.0 GB free"):
        setup_env.check_machine("")


def test_a_sourced_ros_keeps_its_numpy(setup_env, monkeypatch):
    requirements = setup_env.ROOT / "runtime.txt"
    requirements.write_text("# what is needed\nnumpy==2.4.6\npillow==13.0.0\n")
    commands = []
    monkeypatch.setattr(setup_env, "run", lambda stage, command: commands.append(command))
    monkeypatch.setattr(setup_env, "PYTHON", Path(sys.executable))
    setup_env.install([requirements], "jazzy")
    kept = (setup_env.STAMPS / "runtime.txt").read_text()
    assert "numpy" not in kept
    assert "pillow==13.0.0" in kept
    assert "numpy==" in (setup_env.STAMPS / "constraints.txt").read_text()
    setup_env.install([requirements], "")
    assert "numpy==2.4.6" in (setup_env.STAMPS / "runtime.txt").read_text()


def test_the_script_needs_the_standard_library_alone():
    done = subprocess.run(
        [sys.executable, "-S", "-I", str(SCRIPT), "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
