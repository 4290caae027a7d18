# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What an export will do, found out before anything is written: cameras, split, tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vila_ros.bags.free_name import free_name
from vila_ros.bags.recorded_cameras import IMAGE_KINDS, RecordedCamera
from vila_ros.bags.recording import Recording, open_recording
from vila_ros.datasets.annotated_samples import FrameAnnotation, annotations_by_recording
from vila_ros.datasets.blurring import hook_identity
from vila_ros.datasets.cameras import exported_cameras
from vila_ros.datasets.logged_samples import logged_topics
from vila_ros.datasets.slice_export import SliceTask
from vila_ros.datasets.split import (
    REAL_TIME_NS,
    Drive,
    SplitRule,
    Timeline,
    overlapping,
    split_recordings,
    timeline_to_json,
)
from vila_ros.datasets.template import Template, parse_template, read_template_text
from vila_ros.datasets.template_samples import TemplateSource
from vila_ros.datasets.values import TopicValues
from vila_ros.datasets.writing.formats import format_of
from vila_ros.errors import InvalidRequest
from vila_ros.evaluation.recordings import named_recordings
from vila_ros.fleet.output_folder import recording_identity
from vila_ros.fleet.slices import time_slices
from vila_ros.fleet.types import Task, task_id

WORK = "vila_ros.datasets.work:export_task"
_ENDINGS = re.compile(r"(\.(mcap|db3|zstd|zst|tar|gz|tgz|mp4|mkv|mov|avi|webm|m4v|ts))+$", re.I)


@dataclass(frozen=True, slots=True)
class LeRobotOptions:
    """What only LeRobot needs. fps: 0 for the cameras' own. state, action: names of the template's
    values. task: what the robot did, in words. language: whether questions stand in a column of
    the frames, which LeRobot's releases up to 0.4 cannot read."""

    fps: int = 0
    state: tuple[str, ...] = ()
    action: tuple[str, ...] = ()
    task: str = ""
    language: bool = True


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export.

    recordings: as open_recording takes them. template: a file. annotations: folders. logged: None
    takes what the robot logged where there is neither template nor annotation. cameras: as
    exported_cameras takes them. quality: of encoded JPEGs. hook: of blurring. slice: seconds of a
    task. rate: of images without times. threads: for encoding in each worker, 0 for all cores.
    """

    recordings: tuple[Path, ...]
    format: str
    name: str = "recordings"
    template: Path | None = None
    annotations: tuple[Path, ...] = ()
    logged: bool | None = None
    cameras: tuple[str, ...] = ()
    split: SplitRule = field(default_factory=SplitRule)
    quality: int = 95
    hook: str = ""
    slice: float = 120.0
    rate: float | None = None
    threads: int = 0
    lerobot: LeRobotOptions = field(default_factory=LeRobotOptions)

    def __post_init__(self) -> None:
        """Raise InvalidRequest for values out of range."""
        if not self.recordings:
            raise InvalidRequest("No recording is named.")
        if not 1 <= self.quality <= 100:
            raise InvalidRequest(f"The JPEG quality {self.quality} is outside of [1, 100].")
        if not 1 <= self.slice <= 86400:
            raise InvalidRequest(f"The slice of {self.slice:g} s is outside of [1, 86400] s.")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.name):
            raise InvalidRequest(f"The name '{self.name}' has more than letters, digits, _ and -.")
        if not 0 <= self.lerobot.fps <= 1000:
            raise InvalidRequest(f"{self.lerobot.fps} frames a second are outside of [0, 1000].")


@dataclass(frozen=True, slots=True)
class PlannedRecording:
    """A recording of the export; name: its name there."""

    name: str
    path: Path
    start_ns: int
    end_ns: int
    cameras: tuple[RecordedCamera, ...]
    timeline: Timeline


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything an export will do. parameters: all that its output depends on."""

    recordings: tuple[PlannedRecording, ...]
    tasks: tuple[Task, ...]
    parameters: Mapping[str, Any]
    warnings: tuple[str, ...]


def plan_export(options: ExportOptions) -> Plan:
    """Look at everything that can be wrong, and divide the work.

    Raises InvalidRequest and InvalidRecording, which name what is wrong.
    """
    text = read_template_text(options.template) if options.template else ""
    template = parse_template(text, str(options.template)) if text else Template()
    writer = format_of(options.format)
    for rule in template.samples:
        if why := writer.refuses_rule(rule):
            raise InvalidRequest(
                f"'{options.format}' cannot hold the sample '{rule.name}' of {options.template}: "
                f"{why}. Choose another format, or take the rule out."
            )
    _check_lerobot(options, template)
    hook = hook_identity(options.hook) if options.hook else None
    annotations = annotations_by_recording(options.annotations)
    warnings: list[str] = []
    opened = _open_all(options, warnings)
    logged = options.logged
    if logged is None:
        logged = not text and not annotations
    if logged and not any(logged_topics(recording) for _, recording in opened):
        raise InvalidRequest(
            "No recording holds logged questions and answers (SceneDescription, Query or Ask); "
            "name a --template or --annotations to make samples of."
        )
    answers = [each for each in opened if not _has_camera(each[1]) and logged_topics(each[1])]
    opened = [each for each in opened if each not in answers]
    if not opened:
        raise InvalidRequest(
            "The recordings named hold answers but no picture; name those they are about as well."
        )
    drives = [Drive(name, each.start_ns, each.end_ns) for name, each in opened]
    timelines = split_recordings(drives, options.split)
    for group in overlapping(drives):
        if len(group) > 1:
            names = ", ".join(drive.recording for drive in group)
            warnings.append(f"{names} overlap in time; they are split as one drive.")
    recordings = []
    for name, recording in opened:
        cameras = exported_cameras(recording, options.cameras)
        _check_template(template, name, recording, cameras)
        recordings.append(
            PlannedRecording(
                name,
                recording.path,
                recording.start_ns,
                recording.end_ns,
                cameras,
                timelines[name],
            )
        )
    found = _assigned(annotations, recordings, warnings)
    others = [recording for _, recording in answers] if logged else []
    tasks = _tasks(options, recordings, text, logged, _answers_of(recordings, others), found)
    parameters = {
        "recordings": [{"name": each.name, **recording_identity(each.path)} for each in recordings],
        "format": options.format,
        "name": options.name,
        "template": text,
        "annotations": {
            name: [asdict(each) for each in rows] for name, rows in sorted(found.items())
        },
        "logged": logged,
        "answers": [recording_identity(each.path) for each in others],
        "cameras": list(options.cameras),
        "split": asdict(options.split),
        "quality": options.quality,
        "hook": hook,
        "slice": options.slice,
        "rate": options.rate,
        "lerobot": asdict(options.lerobot) if options.format == "lerobot" else {},
    }
    return Plan(tuple(recordings), tuple(tasks), parameters, tuple(warnings))


def _open_all(options: ExportOptions, warnings: list[str]) -> list[tuple[str, Recording]]:
    """The recordings with names of their own, in the order given."""
    opened: list[tuple[str, Recording]] = []
    taken: set[str] = set()
    seen: set[Path] = set()
    for path in options.recordings:
        if path.resolve() in seen:
            raise InvalidRequest(f"'{path}' is named twice.")
        seen.add(path.resolve())
        recording = open_recording(path, frame_rate=options.rate)
        if recording.end_ns <= 0:
            raise InvalidRequest(f"'{path}' holds no message that can be read.")
        warnings += recording.warnings
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", _ENDINGS.sub("", path.resolve().name)).strip("_")
        name = free_name(plain or "recording", taken)
        taken.add(name)
        opened.append((name, recording))
    return opened


def _has_camera(recording: Recording) -> bool:
    return any(topic.type in IMAGE_KINDS and topic.count for topic in recording.topics.values())


def _check_template(
    template: Template, name: str, recording: Recording, cameras: Sequence[RecordedCamera]
) -> None:
    """Raise InvalidRequest for a template that does not fit a recording."""
    values = TopicValues(template.values, recording)
    TemplateSource(template, name, cameras, values, origin_ns=0, seed=0, clips="")


def _check_lerobot(options: ExportOptions, template: Template) -> None:
    known = {value.name for value in template.values}
    for name in (*options.lerobot.state, *options.lerobot.action):
        if name not in known:
            raise InvalidRequest(
                f"The state or action '{name}' is not among the template's values: "
                f"{', '.join(sorted(known)) or 'none'}."
            )


def _answers_of(
    recordings: Sequence[PlannedRecording], answers: Sequence[Recording]
) -> dict[str, list[Path]]:
    """The recordings of answers in which those to each recording are sought, by its name.

    Answers name their frames by camera and stamp. Made-up stamps are the same in every recording,
    so with several of these the answers' own name counts, which is that of what was replayed.
    """
    found: dict[str, list[Path]] = {each.name: [] for each in recordings}
    made_up = [each for each in recordings if each.start_ns < REAL_TIME_NS]
    for source in answers:
        owners = list(recordings)
        if len(made_up) > 1 and source.start_ns < REAL_TIME_NS:
            owners = [each for each in made_up if _replayed(each.path) == _replayed(source.path)]
            if len(owners) != 1:
                raise InvalidRequest(
                    f"'{source.path}' holds answers at made-up times, which are the same in "
                    f"{', '.join(str(each.path) for each in made_up)}; it is called as "
                    f"{len(owners) or 'none'} of these, so that whose answers they are cannot be "
                    "told. Name it as the recording it is about, or export each with its answers "
                    "alone."
                )
        for each in owners:
            found[each.name].append(source.path)
    return found


def _replayed(path: Path) -> str:
    """The name that `vila replay` gives to the answers to a recording, if it is the only one."""
    return next(iter(named_recordings([path])))


def _assigned(
    annotations: Mapping[Path, list[FrameAnnotation]],
    recordings: Sequence[PlannedRecording],
    warnings: list[str],
) -> dict[str, list[FrameAnnotation]]:
    """Annotations by the recording's name: by its path, or its file name where that is unique."""
    found: dict[str, list[FrameAnnotation]] = {}
    for path, rows in annotations.items():
        exact = [each for each in recordings if each.path.resolve() == path]
        named = [each for each in recordings if each.path.resolve().name == path.name]
        match = exact or (named if len(named) == 1 else [])
        if not match:
            warnings.append(
                f"{len(rows)} annotations of '{path}' are left out: it is not among the recordings."
            )
            continue
        found.setdefault(match[0].name, []).extend(rows)
    if annotations and not found:
        raise InvalidRequest(
            "None of the annotations belongs to the recordings named; those annotated are "
            f"{', '.join(str(path) for path in annotations)}."
        )
    return found


def _tasks(
    options: ExportOptions,
    recordings: Sequence[PlannedRecording],
    text: str,
    logged: bool,
    answers: Mapping[str, Sequence[Path]],
    annotations: Mapping[str, list[FrameAnnotation]],
) -> list[Task]:
    tasks: list[Task] = []
    whole = options.format == "lerobot"  # an episode's video cannot be cut into tasks
    for recording in recordings:
        seconds = (recording.end_ns - recording.start_ns) / 1e9
        slices = time_slices(
            recording.start_ns, recording.end_ns, seconds + 1 if whole else options.slice
        )
        task = SliceTask(
            path=str(recording.path.absolute()),
            rate=options.rate,
            name=recording.name,
            origin_ns=recording.start_ns,
            start_ns=0,
            end_ns=0,
            cameras=tuple((each.name, each.topic, each.kind.value) for each in recording.cameras),
            timeline=tuple(tuple(row) for row in timeline_to_json(recording.timeline)),
            place="",
            template=text,
            logged=logged,
            answers=tuple(str(path.absolute()) for path in answers[recording.name]),
            quality=options.quality,
            hook=options.hook,
            seed=options.split.seed,
            clip_folders=format_of(options.format).clip_folders,
            threads=options.threads,
        )
        rows = annotations.get(recording.name, ())
        for number, (first, last) in enumerate(slices):
            own = tuple(asdict(each) for each in rows if first <= each.recorded_ns <= last)
            part = replace(
                task,
                start_ns=first,
                end_ns=last + 1,
                place=f"media/{recording.name}/{number:04d}",
                annotations=own,
                last=number == len(slices) - 1,
            )
            arguments = {
                "format": options.format,
                "slice": part.to_json(),
                "lerobot": asdict(options.lerobot) if whole else {},
            }
            name = task_id(len(tasks), f"{recording.name}-{number:04d}")
            tasks.append(Task(name, arguments, (last - first) / 1e9))
    return tasks
