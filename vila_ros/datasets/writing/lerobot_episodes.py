# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A recording as LeRobot episodes: stretches in which every camera and value is there.

LeRobot's readers find a frame by its time, so frames stand at a constant rate: frame i at i / fps
seconds. Each is the recorded frame nearest to its moment; stamp_ns tells which. Where a camera or a
value is missing for longer, one episode ends and the next begins.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from vila_ros.bags.recorded_cameras import RecordedCamera
from vila_ros.bags.recording import Recording
from vila_ros.datasets.blurring import PictureSource, blurred
from vila_ros.datasets.media_folder import Later, Written
from vila_ros.datasets.picking import Shot
from vila_ros.datasets.provenance import write_provenance
from vila_ros.datasets.records import ExportedSample, MediaFile, write_samples
from vila_ros.datasets.slice_export import SAMPLES, SamplePass, SliceTask, open_kept
from vila_ros.datasets.thumbnails import choose, thumbnail_url, write_thumbnails
from vila_ros.datasets.writing.lerobot_stretches import (
    Episode,
    Track,
    find_episodes,
    frame_rate,
)
from vila_ros.datasets.writing.lerobot_tables import (
    ACTION,
    STATE,
    camera_feature,
    frame_table,
)
from vila_ros.datasets.writing.lerobot_video import EpisodeVideo
from vila_ros.engine.interface import RgbImage
from vila_ros.errors import InvalidRequest
from vila_ros.perception.cdr import read_header
from vila_ros.perception.images import decode_frame, inspect_message
from vila_ros.perception.types import Frame, MessageKind, RefusedImage

NOT_SHOWN = "question at a frame that no episode shows"


class _Headers:
    """Takes the frames of samples without writing them; their pictures come from the videos."""

    def put(self, camera: RecordedCamera, frame: Frame, recorded_ns: int) -> Later:
        """See PictureStore."""
        try:
            view = inspect_message(frame.kind, frame.data)
            width, height = _size(view, frame.kind)
        except RefusedImage as error:
            return Written(error)
        return Written(
            MediaFile(
                f"{camera_feature(camera.name)}@{frame.stamp_ns}",
                width,
                height,
                0,
                copied=False,
                blurred=False,
                camera=camera.name,
                topic=camera.topic,
                stamp_ns=frame.stamp_ns,
                recorded_ns=recorded_ns,
                frame_id=frame.frame_id,
            )
        )


def export_episodes(task: SliceTask, options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write a recording's episodes: EPISODE.parquet and EPISODE-CAMERA.mp4, and its samples.

    Raises InvalidRequest for cameras whose frames change their size, BlurFailed by the hook.
    """
    recording = open_kept(task.path, task.rate)
    warnings_before = len(recording.warnings)
    tracks = {topic: Track(RecordedCamera(name, topic, MessageKind(kind)))
              for name, topic, kind in task.cameras}  # fmt: skip

    def note(camera: RecordedCamera, shot: Shot) -> None:
        if not _is_readable(shot.frame.kind, shot.frame.data):
            return
        track = tracks[camera.topic]
        track.recorded.append(shot.recorded_ns)
        track.stamped.append(shot.frame.stamp_ns)

    first_pass = SamplePass(task, recording, _Headers(), note)
    first_pass.read()
    samples = list(first_pass.samples())
    fps = options["fps"] or frame_rate(next(iter(tracks.values())))
    names = {STATE: options["state"], ACTION: options["action"]}
    needed = list(dict.fromkeys(name for group in names.values() for name in group))
    episodes = find_episodes(task, list(tracks.values()), fps, first_pass.values, needed)
    placed = _placed(samples, episodes, list(tracks.values()))
    lost = len(samples) - len(placed)
    if lost:
        first_pass.left_out[NOT_SHOWN] += lost
    samples = [sample for sample, _, _ in placed]
    chosen = choose(samples)
    wanted = {_shown_frame(sample) for sample in chosen}
    videos = _Videos(task, list(tracks.values()), episodes, fps, folder, wanted)
    videos.write(recording)
    first_pass.left_out.update(
        why for sample in samples if (why := videos.held.get(_shown_frame(sample)))
    )
    placed = [each for each in placed if _shown_frame(each[0]) not in videos.held]
    chosen = [sample for sample in chosen if _shown_frame(sample) not in videos.held]
    samples = [sample for sample, _, _ in placed]
    about = []
    for number, episode in enumerate(episodes):
        events = _events(number, len(episode.values), placed)
        table = _table(episode, tracks, events if options["language"] else None, names, fps)
        pq.write_table(table, folder / f"{number}.parquet")
        _write_events(folder / f"{number}.jsonl", events, fps)
        about.append(
            {
                "split": episode.split,
                "length": len(episode.values),
                "pixels": videos.statistics[number],
            }
        )
    write_samples(folder / SAMPLES, samples)
    write_provenance(folder, samples)
    pictures = videos.thumbnails
    write_thumbnails(folder, chosen, lambda media: pictures[media.topic, media.stamp_ns])
    return {
        "samples": len(samples),
        "left_out": dict(sorted(first_pass.left_out.items())),
        "warnings": list(recording.warnings)[warnings_before:],
        "frames": first_pass.frames,
        "fps": fps,
        "cameras": {track.camera.name: list(track.size) for track in tracks.values()},
        "episodes": about,
    }


def _placed(
    samples: Sequence[ExportedSample], episodes: Sequence[Episode], tracks: Sequence[Track]
) -> list[tuple[ExportedSample, int, int]]:
    """Samples with their episode and its frame."""
    places: dict[tuple[str, int], tuple[int, int]] = {}
    for number, episode in enumerate(episodes):
        for track, indexes in zip(tracks, episode.frames, strict=True):
            for row, index in enumerate(indexes):
                key = (track.camera.topic, track.stamped[index])
                places.setdefault(key, (number, row))
    found = []
    for sample in samples:
        place = places.get(_shown_frame(sample))
        if place is not None and sample.kind == "image":
            found.append((sample, *place))
    return found


def _events(
    number: int, length: int, placed: Sequence[tuple[ExportedSample, int, int]]
) -> list[list[dict[str, Any]]]:
    """The language of each frame of an episode."""
    events: list[list[dict[str, Any]]] = [[] for _ in range(length)]
    for sample, at, row in placed:
        if at != number:
            continue
        camera = camera_feature(sample.media[-1].camera)
        for turn in sample.turns:
            if turn.role != "system":
                events[row].append(
                    {
                        "role": turn.role,
                        "content": turn.text,
                        "style": "vqa",
                        "camera": camera,
                    }
                )
    return events


def _write_events(path: Path, events: Sequence[Sequence[Mapping[str, Any]]], fps: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row, found in enumerate(events):
            for event in found:
                line = {"frame_index": row, "timestamp": row / fps, **event}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _table(
    episode: Episode,
    tracks: Mapping[str, Track],
    events: Sequence[Sequence[Mapping[str, Any]]] | None,
    names: Mapping[str, Sequence[str]],
    fps: int,
) -> Any:
    first = next(iter(tracks.values()))
    vectors = {
        feature: [[row[name] for name in group] for row in episode.values]
        for feature, group in names.items()
        if group
    }
    stamps = [first.stamped[index] for index in episode.frames[0]]
    return frame_table(fps, stamps, vectors, events)


class _Videos:
    """The second pass: frames to videos, in the order they were recorded."""

    def __init__(
        self,
        task: SliceTask,
        tracks: Sequence[Track],
        episodes: Sequence[Episode],
        fps: int,
        folder: Path,
        wanted: set[tuple[str, int]],
    ) -> None:
        self._task, self._fps, self._folder, self._wanted = task, fps, folder, wanted
        self._tracks = {track.camera.topic: track for track in tracks}
        self._lengths = [len(episode.values) for episode in episodes]
        # For each camera its frames to show, in order: which, in which episode.
        self._shown = {
            track.camera.topic: _Peekable(
                (index, number)
                for number, episode in enumerate(episodes)
                for index in episode.frames[place]
            )
            for place, track in enumerate(tracks)
        }
        self._open: dict[str, tuple[int, EpisodeVideo]] = {}
        self._last: dict[str, RgbImage] = {}
        # Of each camera the episodes of the moments that still have no picture.
        self._waiting: dict[str, list[int]] = {topic: [] for topic in self._tracks}
        # Shown frames that only decoding found to be damaged: topic, stamp and why.
        self.held: dict[tuple[str, int], str] = {}
        self.statistics: list[dict[str, Any]] = [{} for _ in episodes]
        self.thumbnails: dict[tuple[str, int], str] = {}

    def write(self, recording: Recording) -> None:
        """Encode everything."""
        counts = dict.fromkeys(self._tracks, 0)
        messages = recording.messages(set(self._tracks), self._task.start_ns, self._task.end_ns - 1)
        for message in messages:
            kind = self._tracks[message.topic].camera.kind
            try:
                stamp_ns, frame_id = read_header(message.data)
            except RefusedImage:
                continue
            if not _is_readable(kind, message.data):
                continue  # as the first pass did, whose numbers of frames these are
            index = counts[message.topic]
            counts[message.topic] = index + 1
            track = self._tracks[message.topic]
            stamp_ns = stamp_ns if stamp_ns > 0 else message.stamp_ns
            self._show(
                track, index, Frame(track.camera.name, stamp_ns, frame_id, kind, message.data)
            )
        for topic, waiting in self._waiting.items():
            if waiting:
                raise InvalidRequest(
                    f"'{self._task.path}': no frame of the camera "
                    f"'{self._tracks[topic].camera.name}' can be decoded; name the others by "
                    "--cameras."
                )
        for topic in list(self._open):
            self._close(topic)

    def _show(self, track: Track, index: int, frame: Frame) -> None:
        shown = self._shown[track.camera.topic]
        waiting = self._waiting[track.camera.topic]
        while shown.peek() is not None and shown.peek()[0] == index:  # type: ignore[index]
            waiting.append(next(shown)[1])
        if waiting and (picture := self._picture(track, frame)) is not None:
            for episode in waiting:
                self._video(track, episode).add(picture)
            waiting.clear()

    def _picture(self, track: Track, frame: Frame) -> RgbImage | None:
        """The pixels of a frame; for a damaged one those of the frame before, None if there is
        none, so that the next one stands for both."""
        topic = track.camera.topic
        try:
            picture = decode_frame(frame)
        except RefusedImage as error:
            self.held[topic, frame.stamp_ns] = f"damaged frame ({error.reason.value})"
            return self._last.get(topic)
        height, width = picture.shape[:2]
        if track.size == (0, 0):
            track.size = (width, height)
        if track.size != (width, height):
            raise InvalidRequest(
                f"'{self._task.path}': the camera '{track.camera.name}' changes from "
                f"{track.size[0]}x{track.size[1]} to {width}x{height} pixels at "
                f"{frame.stamp_ns / 1e9:.3f} s; LeRobot has one size a camera. Export the parts "
                "apart, or choose another format."
            )
        if self._task.hook:
            source = PictureSource(self._task.name, track.camera.name, topic, frame.stamp_ns)
            changed = blurred(self._task.hook, picture, source)
            picture = picture if changed is None else changed
        self._last[topic] = picture
        if (topic, frame.stamp_ns) in self._wanted:
            self.thumbnails[topic, frame.stamp_ns] = thumbnail_url(picture[:, :, ::-1])
        return picture

    def _video(self, track: Track, episode: int) -> EpisodeVideo:
        topic = track.camera.topic
        if topic in self._open and self._open[topic][0] != episode:
            self._close(topic)
        if topic not in self._open:
            path = self._folder / f"{episode}-{track.camera.name}.mp4"
            self._open[topic] = (episode, EpisodeVideo(path, self._fps, track.size))
        return self._open[topic][1]

    def _close(self, topic: str) -> None:
        episode, video = self._open.pop(topic)
        name = camera_feature(self._tracks[topic].camera.name)
        self.statistics[episode][name] = video.close()


class _Peekable(Iterator[tuple[int, int]]):
    """An iterator of which the next element can be looked at."""

    def __init__(self, elements: Iterator[tuple[int, int]]) -> None:
        self._elements = elements
        self._next = next(elements, None)

    def peek(self) -> tuple[int, int] | None:
        """The next element; None at the end."""
        return self._next

    def __next__(self) -> tuple[int, int]:
        if self._next is None:
            raise StopIteration
        found, self._next = self._next, next(self._elements, None)
        return found


def _shown_frame(sample: ExportedSample) -> tuple[str, int]:
    """The frame of a sample, by topic and stamp."""
    return sample.media[-1].topic, sample.media[-1].stamp_ns


def _is_readable(kind: MessageKind, data: bytes) -> bool:
    """Whether a message can be a frame, as far as that shows without decoding it."""
    try:
        inspect_message(kind, data)
    except RefusedImage:
        return False
    return True


def _size(view: Any, kind: MessageKind) -> tuple[int, int]:
    if kind is MessageKind.IMAGE:
        return view.width, view.height
    from vila_ros.perception.image_files import inspect_file

    file = inspect_file(view.data)
    return file.width, file.height
