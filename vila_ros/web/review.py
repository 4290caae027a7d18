# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The calls of the review page: the queue, one candidate, its pictures, a decision."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from vila_ros.annotation.coda_lm import CATEGORIES, GROUPS
from vila_ros.annotation.store import AnnotationFolder
from vila_ros.annotation.types import Candidate, InvalidAnnotationFolder, Review, StaleRevision
from vila_ros.errors import InvalidRequest, VilaError
from vila_ros.perception.image_files import decode_file
from vila_ros.perception.jpeg import encode_jpeg, smaller
from vila_ros.web.film_strip import FilmStrips
from vila_ros.web.server import Query, Reply, Site, json_reply

PAGES = Path(__file__).parent / "page"
THUMBNAIL_WIDTH = 120
_THUMBNAILS_KEPT = 2000
_HOUR = 3600


class ReviewCalls:
    """What the review page asks for and sends. Thread-safe."""

    def __init__(self, folder: AnnotationFolder, strips: FilmStrips, reviewer: str = "") -> None:
        """reviewer: who the page takes its user for until they say otherwise."""
        self._folder = folder
        self._strips = strips
        self._reviewer = reviewer
        self._lock = threading.Lock()
        self._thumbnails: OrderedDict[str, bytes] = OrderedDict()
        # What has changed since the page was opened: (id, verdict, revision), oldest first.
        self._changes: list[tuple[str, str, int]] = []
        self._verdicts = {
            candidate_id: folder.verdict(candidate_id) for candidate_id in folder.candidates
        }

    def site(self) -> Site:
        """The page with these calls."""
        return Site(
            PAGES,
            get={
                "api/queue": self.queue,
                "api/changes": self.changes,
                "api/candidate": self.candidate,
                "api/image": self.image,
                "api/thumbnail": self.thumbnail,
                "api/strip": self.strip,
                "api/frame": self.frame,
            },
            post={"api/decide": self.decide},
        )

    def queue(self, query: Query) -> Reply:
        """All candidates, in few words each, the best first."""
        recordings = list(dict.fromkeys(c.recording for c in self._folder.candidates.values()))
        number = {path: index for index, path in enumerate(recordings)}
        with self._lock:
            rows = [
                {
                    "id": candidate.id,
                    "recording": number[candidate.recording],
                    "camera": candidate.camera,
                    "stamp": candidate.stamp_ns / 1e9,
                    "score": candidate.score,
                    "title": candidate.reasons[0].text if candidate.reasons else "",
                    "miners": sorted({reason.miner for reason in candidate.reasons}),
                    "verdict": self._verdicts[candidate.id][0],
                    "revision": self._verdicts[candidate.id][1],
                }
                for candidate in self._folder.candidates.values()
            ]
            change = len(self._changes)
        return json_reply(
            {
                "folder": self._folder.path.absolute().name,
                "reviewer": self._reviewer,
                "recordings": [Path(path).name for path in recordings],
                "categories": CATEGORIES,
                "groups": GROUPS,
                "change": change,
                "candidates": rows,
            }
        )

    def changes(self, query: Query) -> Reply:
        """What was decided since a change, in any tab. since: from queue or changes."""
        since = _whole(query.need("since"), "since")
        with self._lock:
            return json_reply({"change": len(self._changes), "rows": self._changes[since:]})

    def candidate(self, query: Query) -> Reply:
        """One candidate with its draft and its review."""
        candidate = self._candidate(query)
        draft = self._folder.draft(candidate.id)
        return json_reply(
            {
                "id": candidate.id,
                "recording": candidate.recording,
                "camera": candidate.camera,
                "topic": candidate.topic,
                # As text: JavaScript's numbers do not hold nanoseconds.
                "stamp_ns": str(candidate.stamp_ns),
                "recorded_ns": str(candidate.recorded_ns),
                "width": candidate.width,
                "height": candidate.height,
                "also": candidate.also,
                "reasons": [
                    {"miner": reason.miner, "text": reason.text, "score": reason.score}
                    for reason in candidate.reasons
                ],
                "draft": {
                    "model": draft.model,
                    "runtime": draft.runtime,
                    "answers": [
                        {"section": a.section, "prompt": a.prompt, "text": a.text, "error": a.error}
                        for a in draft.answers
                    ],
                },
                "review": review_to_json(self._folder.review(candidate.id)),
            }
        )

    def image(self, query: Query) -> Reply:
        """A candidate's frame as it was recorded."""
        path = self._folder.image(self._candidate(query).id)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InvalidAnnotationFolder(f"{path} cannot be read: {error.strerror}.") from error
        return Reply(data, _type_of(path.suffix), seconds=_HOUR)

    def thumbnail(self, query: Query) -> Reply:
        """A candidate's frame as a small JPEG."""
        candidate = self._candidate(query)
        with self._lock:
            small = self._thumbnails.get(candidate.id)
        if small is None:
            pixels = decode_file(self.image(query).content)
            small = encode_jpeg(smaller(pixels, THUMBNAIL_WIDTH), 75)
            with self._lock:
                self._thumbnails[candidate.id] = small
                while len(self._thumbnails) > _THUMBNAILS_KEPT:
                    self._thumbnails.popitem(last=False)
        return Reply(small, "image/jpeg", seconds=_HOUR)

    def strip(self, query: Query) -> Reply:
        """The moments around a candidate: their times; a message instead where they are gone."""
        candidate = self._candidate(query)
        try:
            frames = self._strips.strip(candidate)
        except VilaError as error:
            return json_reply({"frames": [], "message": error.message})
        return json_reply(
            {
                "frames": [
                    {"at": str(frame.recorded_ns), "seconds": frame.seconds} for frame in frames
                ],
                "message": "" if frames else "The recording has no frames around this one.",
            }
        )

    def frame(self, query: Query) -> Reply:
        """A frame of a candidate's strip. at: recorded_ns. size: "small", or full."""
        candidate = self._candidate(query)
        at = _whole(query.need("at"), "at")
        if query.parameters.get("size") == "small":
            found = next((f for f in self._strips.strip(candidate) if f.recorded_ns == at), None)
            if found is None:
                raise InvalidRequest(f"the strip of {candidate.id} has no frame at {at}")
            return Reply(found.small, "image/jpeg", seconds=_HOUR)
        data, kind = self._strips.frame(candidate, at)
        return Reply(data, kind, seconds=_HOUR)

    def decide(self, query: Query) -> Reply:
        """Take a decision; 409 with the stored review if another one came first."""
        body = query.body
        if not isinstance(body, dict):
            raise InvalidRequest("the decision must be a JSON object")
        candidate_id, revision = body.get("id"), body.get("revision")
        reviewer, note = body.get("reviewer", ""), body.get("note")
        if (
            not isinstance(candidate_id, str)
            or type(revision) is not int
            or not isinstance(reviewer, str)
            or not isinstance(note, str | None)
            or not isinstance(body.get("action"), str)
        ):
            raise InvalidRequest("a decision has id, action, revision, reviewer, note, annotation")
        try:
            review = self._folder.decide(
                candidate_id,
                body["action"],
                revision,
                body.get("annotation"),
                reviewer.strip(),
                note,
            )
        except StaleRevision as stale:
            return json_reply(
                {"error": stale.message, "review": review_to_json(stale.current)}, 409
            )
        with self._lock:
            self._verdicts[candidate_id] = review.verdict, review.revision
            self._changes.append((candidate_id, review.verdict, review.revision))
        return json_reply({"review": review_to_json(review)})

    def _candidate(self, query: Query) -> Candidate:
        return self._folder.candidate(query.need("id"))


def review_to_json(review: Review) -> dict[str, Any]:
    """A review as the page takes it; of the history all but the annotations."""
    return {
        "revision": review.revision,
        "verdict": review.verdict,
        "annotation": review.annotation,
        "edited": review.edited,
        "reviewer": review.reviewer,
        "note": review.note,
        "undoable": bool(review.history) and review.history[-1].parent >= 0,
        "history": [
            {
                "revision": step.revision,
                "action": step.action,
                "verdict": step.verdict,
                "reviewer": step.reviewer,
                "time": step.time_ns / 1e9,
            }
            for step in review.history
        ],
    }


def _whole(text: str, name: str) -> int:
    if not text.isdecimal() or len(text) > 19:
        raise InvalidRequest(f"{name} is {text[:40]!r}; it must be a whole number")
    return int(text)


def _type_of(suffix: str) -> str:
    return "image/png" if suffix == ".png" else "image/jpeg"
