# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Samples by template: what topics said when a frame was taken becomes the answer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

from vila_ros.bags.recorded_cameras import RecordedCamera
from vila_ros.datasets.drafts import Draft, clip_of, media_then
from vila_ros.datasets.picking import Pick, Shot
from vila_ros.datasets.records import ExportedSample, MediaFile, Part, Turn
from vila_ros.datasets.template import MEDIA_MARK, SampleRule, Template, fill
from vila_ros.datasets.values import TopicValues, Value, is_finite
from vila_ros.errors import InvalidRequest

CONDITION = "condition not met"
"""Why a sample was not made that its rule's "when" excludes."""


class TemplateSource:
    """Drafts by the rules of a template.

    origin_ns: the recording's start, from which "every" counts. values: filled while it is read.
    clips: the folder below which clips get theirs. Raises InvalidRequest for a rule that does not
    fit the recording's cameras.
    """

    def __init__(
        self,
        template: Template,
        recording: str,
        cameras: Sequence[RecordedCamera],
        values: TopicValues,
        *,
        origin_ns: int,
        seed: int,
        clips: str,
    ) -> None:
        self._template, self._recording, self._values = template, recording, values
        self._origin_ns, self._seed, self._clips = origin_ns, seed, clips
        self._cameras = {rule.name: _cameras_for(rule, cameras) for rule in template.samples}
        for rule in template.samples:
            self._check_marks(rule)

    def drafts(self, start_ns: int, end_ns: int) -> Iterator[Draft]:
        """The samples whose moments lie in start_ns <= moment < end_ns, without every frame's."""
        for number, rule in enumerate(self._template.samples):
            if not rule.every:
                continue
            step = rule.every * 1e9
            index = max(0, int((start_ns - self._origin_ns) / step) - 1)
            while (moment := self._origin_ns + round(index * step)) < end_ns:
                index += 1
                if moment < start_ns:
                    continue
                for group, picks in enumerate(self._picks(rule, moment)):
                    yield self._draft(rule, (moment, number, group), picks)

    def draft_of(self, shot: Shot) -> Iterator[Draft]:
        """The samples that this frame is wanted for because every frame is."""
        for number, rule in enumerate(self._template.samples):
            if rule.every:
                continue
            for group, camera in enumerate(self._cameras[rule.name]):
                if camera.topic == shot.topic:
                    pick = Pick(shot.topic, stamp_ns=shot.frame.stamp_ns)
                    yield self._draft(rule, (shot.recorded_ns, number, group), (pick,))

    def _picks(self, rule: SampleRule, moment: int) -> Iterator[tuple[Pick, ...]]:
        cameras = self._cameras[rule.name]
        if rule.media == "images" and not rule.over:
            yield tuple(Pick(camera.topic, moment) for camera in cameras)
            return
        spread = [
            moment + round(index * rule.over * 1e9 / max(1, rule.frames - 1))
            for index in range(rule.frames)
        ]
        for camera in cameras:
            yield tuple(Pick(camera.topic, at_ns) for at_ns in spread)

    def _draft(
        self, rule: SampleRule, order: tuple[int, int, int], picks: tuple[Pick, ...]
    ) -> Draft:
        def finish(sample_id: str, media: tuple[MediaFile, ...]) -> ExportedSample | str:
            return self._finish(rule, sample_id, media)

        return Draft(order, rule.name, picks, finish)

    def _finish(
        self, rule: SampleRule, sample_id: str, media: tuple[MediaFile, ...]
    ) -> ExportedSample | str:
        if len({each.file for each in media}) < len(media):
            return "too few frames in its time"
        last = media[-1]
        values: dict[str, Value] = {}
        for name in self._template.used_values(rule):
            value = self._values.at(name, last.stamp_ns, last.recorded_ns)
            if value is None:
                return f"no value '{name}' near the frame"
            values[name] = value
        for name, (low, high) in (rule.when or {}).items():
            value = values[name]
            if isinstance(value, str) or not low <= value <= high:
                return CONDITION
        for name, value in values.items():
            if not is_finite(value):
                return f"value '{name}' is not finite"
        known = values | {
            "camera": last.camera,
            "recording": self._recording,
            "time": (last.recorded_ns - self._origin_ns) / 1e9,
        }
        turns = self._turns(rule, sample_id, media, known)
        if isinstance(turns, str):
            return turns
        return ExportedSample(
            sample_id,
            "",
            "template",
            rule.name,
            self._recording,
            turns,
            media,
            rule.category,
            values=values,
        )

    def _turns(
        self,
        rule: SampleRule,
        sample_id: str,
        media: tuple[MediaFile, ...],
        known: Mapping[str, Value],
    ) -> tuple[Turn, ...] | str:
        turns = [Turn("system", (rule.system,))] if rule.system else []
        chance = random.Random(f"{self._seed}:{sample_id}")  # noqa: S311
        words = self._template.words or {}
        shown = 0
        marked = any(MEDIA_MARK in turn.questions[0] for turn in rule.turns)
        for index, turn in enumerate(rule.turns):
            wording = chance.choice(turn.questions)
            pieces: list[Part] = []
            for number, text in enumerate(wording.split(MEDIA_MARK)):
                if number:
                    pieces.append(shown)
                    shown += 1
                filled = fill(text, known, words)
                if filled is None:
                    return "no word for a value"
                if filled:
                    pieces.append(filled)
            if not marked and index == 0:
                question = "".join(piece for piece in pieces if isinstance(piece, str))
                clip = f"{self._clips}/{sample_id}"
                pieces = (
                    [clip_of(media, clip), question]
                    if rule.media == "video"
                    else list(media_then(len(media), question))
                )
            answer = fill(turn.answer, known, words)
            if answer is None:
                return "no word for a value"
            if MEDIA_MARK in answer or any(MEDIA_MARK in p for p in pieces if isinstance(p, str)):
                return f"{MEDIA_MARK} in a value"
            turns += [Turn("user", tuple(pieces)), Turn("assistant", (answer,))]
        return tuple(turns)

    def _check_marks(self, rule: SampleRule) -> None:
        marks = sum(turn.questions[0].count(MEDIA_MARK) for turn in rule.turns)
        pictures = rule.frames if rule.over else len(self._cameras[rule.name])
        if marks and marks != pictures:
            raise InvalidRequest(
                f"The questions of '{rule.name}' have {marks} {MEDIA_MARK} marks, but "
                f"{'frames is' if rule.over else 'the cameras are'} {pictures}; they must be equal."
            )


def _cameras_for(rule: SampleRule, cameras: Sequence[RecordedCamera]) -> tuple[RecordedCamera, ...]:
    if not rule.cameras:
        return tuple(cameras)
    by_name = {camera.name: camera for camera in cameras}
    for name in rule.cameras:
        if name not in by_name:
            raise InvalidRequest(
                f"The sample '{rule.name}' wants the camera '{name}'; the recording has "
                f"{', '.join(sorted(by_name))}."
            )
    return tuple(by_name[name] for name in rule.cameras)
