# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One task of an export: a stretch of a recording becomes pictures and samples in a folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Protocol

from vila_ros.bags.recorded_cameras import RecordedCamera
from vila_ros.bags.recording import Recording, open_recording
from vila_ros.datasets.annotated_samples import FrameAnnotation, annotated_drafts
from vila_ros.datasets.drafts import Draft
from vila_ros.datasets.logged_samples import LOOK_BACK_NS, logged_drafts, read_logged
from vila_ros.datasets.media_folder import Later, MediaFolder
from vila_ros.datasets.picking import MAX_LAG_NS, FramePicker, Shot
from vila_ros.datasets.pictures import Encoding
from vila_ros.datasets.provenance import write_provenance
from vila_ros.datasets.records import Clip, ExportedSample, MediaFile, write_samples
from vila_ros.datasets.split import timeline_from_json
from vila_ros.datasets.template import Template, parse_template
from vila_ros.datasets.template_samples import CONDITION, TemplateSource
from vila_ros.datasets.values import TopicValues
from vila_ros.perception.cdr import read_header
from vila_ros.perception.types import Frame, MessageKind, RefusedImage

SAMPLES, MEDIA, CLIPS = "samples.jsonl", "media", "clips"
NO_FRAME = "no frame at its time"
IN_GAP = "between training and validation"
_MARGIN_NS = 10_000_000_000
_HOOK_THREADS = 1  # a user's function need not bear several at once


@dataclass(frozen=True, slots=True)
class SliceTask:
    """What a task needs to know, all plain values.

    path, rate: the recording and the rate of images without times. name: its name in the export.
    origin_ns: its start. start_ns <= recorded < end_ns: the stretch. cameras: name, topic, type.
    template: its text, "" for none. logged: whether answers that were logged are wanted, answers:
    other recordings that hold some. last: whether it is the recording's last stretch. place: where
    the media go, relative to the export's folder.
    clip_folders: whether clips get folders of their own. threads: for encoding, 0 for all cores.
    """

    path: str
    rate: float | None
    name: str
    origin_ns: int
    start_ns: int
    end_ns: int
    cameras: tuple[tuple[str, str, str], ...]
    timeline: tuple[tuple[int | str, ...], ...]
    place: str
    template: str = ""
    logged: bool = False
    answers: tuple[str, ...] = ()
    last: bool = False
    annotations: tuple[Mapping[str, Any], ...] = ()
    quality: int = 95
    hook: str = ""
    seed: int = 0
    clip_folders: bool = False
    threads: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def slice_from_json(arguments: Mapping[str, Any]) -> SliceTask:
    """The inverse of SliceTask.to_json, also after a way through JSON."""
    return SliceTask(**{**arguments, "annotations": tuple(arguments["annotations"])})


def export_slice(
    task: SliceTask, folder: Path, refuses: Callable[[ExportedSample], str] = lambda _: ""
) -> tuple[list[ExportedSample], dict[str, Any]]:
    """Write a stretch's media/ and samples.jsonl into an empty folder.

    refuses: says why a sample cannot be held, "" if it can. Returns the samples, and what is to be
    told of the task: how many frames it saw and what it left out.


    The same for the same task. Raises InvalidRequest, InvalidRecording, BlurFailed, ExportFailed.
    """
    recording = open_kept(task.path, task.rate)
    warnings_before = len(recording.warnings)
    # The fleet tells workers that share a machine how many cores are theirs.
    own = int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count() or 1
    threads = _HOOK_THREADS if task.hook else task.threads or own
    media = MediaFolder(
        folder / MEDIA, task.place, task.name, Encoding(task.quality, task.hook), threads
    )
    try:
        pass_ = SamplePass(task, recording, media)
        pass_.read()
        samples = []
        for sample in pass_.samples():
            if why := refuses(sample):
                pass_.left_out[why] += 1
            else:
                samples.append(sample)
    finally:
        media.close()
    if task.clip_folders:
        for sample in samples:
            _link_clips(sample, folder, task.place)
    write_samples(folder / SAMPLES, samples)
    write_provenance(folder, samples)
    media.keep({file.file for sample in samples for file in sample.media})
    return samples, {
        "samples": len(samples),
        "left_out": dict(sorted(pass_.left_out.items())),
        "warnings": list(recording.warnings)[warnings_before:],
        "frames": pass_.frames,
    }


class PictureStore(Protocol):
    """Where the pictures of samples go."""

    def put(self, camera: RecordedCamera, frame: Frame, recorded_ns: int) -> Later:
        """Take a frame; the result is its file, or why there is none."""


class SamplePass:
    """One pass over a stretch: which frames are wanted, then what was made of them.

    each_frame: told of every frame of the stretch, wanted or not.
    """

    def __init__(
        self,
        task: SliceTask,
        recording: Recording,
        media: PictureStore,
        each_frame: Callable[[RecordedCamera, Shot], None] | None = None,
    ) -> None:
        self._task, self._recording, self._media = task, recording, media
        self._each_frame = each_frame
        self._cameras = {
            topic: RecordedCamera(name, topic, MessageKind(kind))
            for name, topic, kind in task.cameras
        }
        self._drafts: list[Draft] = []
        self._found: dict[tuple[int, int], Later] = {}
        self._in_gap: set[tuple[int, int]] = set()  # picks, as the keys of what was found
        self._timeline = timeline_from_json(task.timeline)
        self._numbers: list[tuple[int, int]] = []  # of each pick: its draft, its place in it
        self._picker = FramePicker()
        self.left_out: Counter[str] = Counter()
        self.frames = 0
        self._first_ns, self._last_ns = task.start_ns, task.end_ns - 1
        template = _template(task.template)
        self.values = TopicValues(template.values, recording)
        self._source = TemplateSource(
            template,
            task.name,
            tuple(self._cameras.values()),
            self.values,
            origin_ns=task.origin_ns,
            seed=task.seed,
            clips=f"{task.place}/{CLIPS}",
        )
        self._gap_ns = max((round(rule.max_gap * 1e9) for rule in template.values), default=0)
        for draft in self._source.drafts(task.start_ns, task.end_ns):
            self._add(draft)
        self._add_annotated()
        if task.logged:
            self._add_logged()

    def read(self) -> None:
        """The pass itself."""
        wanted = set(self._cameras) | self.values.topics
        first, last = self._first_ns - self._gap_ns, self._last_ns + self._gap_ns
        for message in self._recording.messages(wanted, first, last):
            camera = self._cameras.get(message.topic)
            if camera is None:
                self.values.add(message)
                continue
            if not self._first_ns <= message.stamp_ns <= self._last_ns:
                continue
            try:
                stamp_ns, frame_id = read_header(message.data)
            except RefusedImage:
                self.left_out["damaged frame"] += 1
                continue
            # Cameras without a clock send zero; the time of reception is the best there is.
            stamp_ns = stamp_ns if stamp_ns > 0 else message.stamp_ns
            frame = Frame(camera.name, stamp_ns, frame_id, camera.kind, message.data)
            self._take(camera, Shot(camera.topic, frame, message.stamp_ns))

    def samples(self) -> Iterator[ExportedSample]:
        """The samples, in the order of their moments."""
        order = sorted(range(len(self._drafts)), key=lambda index: self._drafts[index].order)
        ids: set[str] = set()
        for index in order:
            draft = self._drafts[index]
            media = self._media_of(index)
            if isinstance(media, str):
                self.left_out[media] += 1
                continue
            times = [file.recorded_ns for file in media]
            part = self._timeline.part_of(min(times), max(times))
            if part == "gap":
                self.left_out[IN_GAP] += 1
                continue
            sample = draft.finish(self._id(draft, media, ids), media)
            if isinstance(sample, str):
                self.left_out[sample] += sample != CONDITION
                continue
            yield replace(sample, split=part)
        self.left_out = +self.left_out
        if self.values.unreadable:
            self.left_out["unreadable value"] += self.values.unreadable

    def _take(self, camera: RecordedCamera, shot: Shot) -> None:
        if self._task.start_ns <= shot.recorded_ns < self._task.end_ns:
            self.frames += 1
            if self._each_frame is not None:
                self._each_frame(camera, shot)
            for draft in self._source.draft_of(shot):
                self._add(draft)
        # What touches a gap is left out, so its frames need not be made.
        in_gap = self._timeline.part_of(shot.recorded_ns, shot.recorded_ns) == "gap"
        future: Later | None = None
        for number in self._picker.take(shot):
            if in_gap:
                self._in_gap.add(self._numbers[number])
                continue
            future = future or self._media.put(camera, shot.frame, shot.recorded_ns)
            self._found[self._numbers[number]] = future
        if future is not None and future.done():
            future.result()  # what stops the export stops it now

    def _add(self, draft: Draft) -> None:
        index = len(self._drafts)
        self._drafts.append(draft)
        for place, pick in enumerate(draft.picks):
            self._numbers.append((index, place))
            self._picker.want(len(self._numbers) - 1, pick)
            if pick.at_ns:
                self._first_ns = min(self._first_ns, pick.at_ns)
                self._last_ns = max(self._last_ns, pick.at_ns + MAX_LAG_NS)

    def _add_annotated(self) -> None:
        annotations = [FrameAnnotation(**each) for each in self._task.annotations]
        for draft in annotated_drafts(self._task.name, annotations):
            if draft.picks[0].topic in self._cameras:
                self._add(draft)
            else:
                self.left_out["annotation of a camera that is not exported"] += 1

    def _add_logged(self) -> None:
        # An answer to the last frames may come after them.
        end = self._task.end_ns + (LOOK_BACK_NS if self._task.last else 0)
        answers = []
        for source in (self._recording, *map(_opened_answers, self._task.answers)):
            found = read_logged(source, self._task.start_ns, end)
            answers += found.answers
            if found.skipped:
                self.left_out["unreadable logged answer"] += found.skipped
        for answer in answers:
            # Frames are named by header stamps, which may be of another clock than the recorder's.
            earliest = answer.recorded_ns - answer.span_ns - _MARGIN_NS
            self._first_ns = min(self._first_ns, earliest)
        cameras = tuple(self._cameras.values())
        for draft in logged_drafts(self._task.name, answers, cameras):
            if isinstance(draft, str):
                self.left_out[draft] += 1
            else:
                self._add(draft)

    def _media_of(self, index: int) -> tuple[MediaFile, ...] | str:
        files = []
        in_gap = False
        for place in range(len(self._drafts[index].picks)):
            if (index, place) in self._in_gap:
                in_gap = True
                continue
            future = self._found.get((index, place))
            if future is None:
                return NO_FRAME
            outcome = future.result()
            if isinstance(outcome, RefusedImage):
                return f"damaged frame ({outcome.reason.value})"
            files.append(outcome)
        return IN_GAP if in_gap else tuple(files)

    def _id(self, draft: Draft, media: tuple[MediaFile, ...], taken: set[str]) -> str:
        last = media[-1]
        name = f"{self._task.name}-{draft.name}-{last.camera}-{last.stamp_ns}"
        number = 1
        found = name
        while found in taken:
            number += 1
            found = f"{name}-{number}"
        taken.add(found)
        return found


def open_kept(path: str, rate: float | None) -> Recording:
    """The recording; kept for the next task, as looking through a tub or a cut file takes time."""
    return _opened(path, rate, _state(Path(path)))


def _opened_answers(path: str) -> Recording:
    return open_kept(path, None)


@lru_cache(maxsize=4)
def _opened(path: str, rate: float | None, state: tuple[int, int]) -> Recording:
    return open_recording(path, frame_rate=rate)


def _state(path: Path) -> tuple[int, int]:
    try:
        about = path.stat()
    except OSError:
        return (0, 0)
    return (about.st_size, about.st_mtime_ns)


@cache
def _template(text: str) -> Template:
    return parse_template(text) if text else Template()


def _link_clips(sample: ExportedSample, folder: Path, place: str) -> None:
    """Give a clip a folder with its frames under zero-padded names, without copying them."""
    for turn in sample.turns:
        for part in turn.parts:
            if not isinstance(part, Clip):
                continue
            clip = folder / MEDIA / Path(part.folder).relative_to(place)
            clip.mkdir(parents=True, exist_ok=True)
            for number, index in enumerate(part.frames):
                source = folder / MEDIA / Path(sample.media[index].file).relative_to(place)
                os.link(source, clip / f"{number:06d}{source.suffix}")
