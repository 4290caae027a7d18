# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the stages of a build, each once: a finished stage leaves a stamp, an interrupted none.

A stamp holds a digest of the stage's command, of the model's files and of the stages before it, so
that a changed option repeats what depends on it. Paths are left out of it: an engine folder may be
quantised on one machine and carried to the robot, where the same command goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from vila_ros.engine.build_plan import BuildPlan, Stage
from vila_ros.engine.engine_folder import WORK
from vila_ros.errors import EngineFailed, InvalidRequest, Unsupported

SHOWN_LINES = 20
Progress = Callable[[str], None]


def run_build(plan: BuildPlan, progress: Progress, until: str | None = None) -> None:
    """Run what is not done yet. until: the last stage to run.

    Raises InvalidRequest without enough disk or a folder to write, Unsupported for a program that
    is missing, and EngineFailed with the end of a failed stage's output.
    """
    names = [stage.name for stage in plan.stages]
    if until is not None and until not in names:
        raise InvalidRequest(f"--until {until!r} is no stage; stages are {', '.join(names)}")
    chosen = plan.stages[: names.index(until) + 1] if until else plan.stages
    try:
        (plan.out / WORK / "stamps").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(
            f"{plan.out} cannot be written: {error.strerror or error}; name another folder"
        ) from None
    pending = [stage for stage in chosen if not is_done(plan, stage)]
    check_disk(plan.out, sum(stage.needs.disk for stage in pending))
    for number, stage in enumerate(chosen, 1):
        title = f"[{number}/{len(chosen)}] {stage.name}"
        if stage not in pending:
            progress(f"{title}: done before")
            continue
        progress(f"{title}: {stage.says}")
        progress(f"    {shlex.join(stage.command)}")
        seconds = run_stage(plan, stage, progress)
        progress(f"{title}: done in {seconds:.0f} s")


def run_stage(plan: BuildPlan, stage: Stage, progress: Progress) -> float:
    """Run one stage and stamp it; returns the seconds it took."""
    if shutil.which(stage.command[0]) is None:
        raise Unsupported(
            f"stage {stage.name} needs {stage.command[0]}, which is not on PATH; run this inside "
            "the container of containers/, or where tensorrt_llm is installed. Earlier stages are "
            "kept: the same command goes on here"
        )
    stamp = _stamp(plan, stage)
    stamp.unlink(missing_ok=True)
    _remove(stage.output)
    log = plan.out / WORK / f"{stage.name}.log"
    began = time.monotonic()
    code, last = _execute(stage, log, progress)
    if code != 0:
        said = "\n".join(f"    {line}" for line in last)
        ended = f"ended by signal {-code}" if code < 0 else f"ended with status {code}"
        memory = " (out of memory? the kernel kills by signal 9)" if code == -signal.SIGKILL else ""
        raise EngineFailed(
            f"stage {stage.name} {ended}{memory}:\n{said}\nThe whole output is in {log}; run the "
            "same command again to go on from this stage"
        )
    if not stage.output.exists():
        raise EngineFailed(
            f"stage {stage.name} ended well but left no {stage.output}; its output is in {log}"
        )
    seconds = time.monotonic() - began
    part = stamp.with_suffix(".part")
    part.write_text(json.dumps({"digest": digest(plan, stage), "seconds": round(seconds, 1)}))
    part.replace(stamp)
    return seconds


def is_done(plan: BuildPlan, stage: Stage) -> bool:
    """Whether the stage has run with these very inputs, and its output is still there."""
    try:
        stamped = json.loads(_stamp(plan, stage).read_text()).get("digest")
    except (OSError, ValueError, AttributeError):
        return False
    return stamped == digest(plan, stage) and stage.output.exists()


def digest(plan: BuildPlan, stage: Stage) -> str:
    """What a stage's result depends on, in hexadecimal."""
    total = hashlib.sha256()
    for name, size in _identity(plan.model):
        total.update(f"{name}:{size}\n".encode())
    for each in plan.stages[: plan.stages.index(stage) + 1]:
        total.update(json.dumps(list(_without_paths(plan, each))).encode())
    return total.hexdigest()


def check_disk(folder: Path, needed: int) -> None:
    """Raise InvalidRequest unless so many bytes are free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InvalidRequest(
            f"{needed / 1e9:.1f} GB are needed under {folder}, {free / 1e9:.1f} GB are free; free "
            "some, or name another folder by --out"
        )


def _execute(stage: Stage, log: Path, progress: Progress) -> tuple[int, list[str]]:
    """Run the command with its output in a log; its status and last lines."""
    last: deque[str] = deque(maxlen=SHOWN_LINES)
    process = subprocess.Popen(
        stage.command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        with log.open("w", encoding="utf-8") as kept:
            assert process.stdout is not None
            for line in process.stdout:
                kept.write(line)
                kept.flush()
                last.append(line.rstrip())
                progress(f"    {line.rstrip()}")
        return process.wait(), list(last)
    finally:
        if process.poll() is None:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """End the command and what it started."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        try:
            process.wait(timeout=5)
            return
        except subprocess.TimeoutExpired:
            continue


def _identity(model: Path) -> Iterator[tuple[str, int | str]]:
    """The model's files: configurations by content, weights by size."""
    for path in sorted(model.rglob("*")):
        if not path.is_file():
            continue
        name = path.relative_to(model).as_posix()
        small = path.suffix == ".json"
        content = hashlib.sha256(path.read_bytes()).hexdigest() if small else path.stat().st_size
        yield name, content


def _without_paths(plan: BuildPlan, stage: Stage) -> Iterator[str]:
    places = {str(plan.out): "OUT", str(plan.model): "MODEL"}
    if plan.options.calibration is not None:
        places[str(plan.options.calibration.resolve())] = "CALIBRATION"
    yield Path(stage.command[0]).name if stage.name == "language" else "program"
    for argument in stage.command[1:]:
        for path, name in places.items():
            if argument == path or argument.startswith(f"{path}/"):
                argument = name + argument[len(path) :]
        yield argument


def _stamp(plan: BuildPlan, stage: Stage) -> Path:
    return plan.out / WORK / "stamps" / f"{stage.name}.json"


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
