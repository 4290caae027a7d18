# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An annotation folder: candidates, drafts and decisions. The folder is the truth.

    annotations.json          what it is, and the settings of the run that made it
    candidates.jsonl          a candidate a line, the most interesting first
    images/ID.jpg             the frames
    drafts/ID.json            what the model proposed
    reviews/ID.json           every decision on a candidate, oldest first; absent while undecided

Each decision is on disk before it counts, by a file that is replaced as a whole, so that a crash
loses at most the decision that was being made. Readers of what was reviewed need one function:

    for annotation in reviewed(folder):
        annotation.recording, annotation.topic, annotation.stamp_ns   # which frame
        annotation.image, annotation.annotation, annotation.reviewer  # what is known of it
"""

from __future__ import annotations

import fcntl
import json
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from vila_ros.annotation.coda_lm import checked_annotation, empty_annotation
from vila_ros.annotation.records import (
    candidate_from_json,
    decision_from_json,
    decision_to_json,
    draft_from_json,
    read_json,
    write_whole,
)
from vila_ros.annotation.types import (
    ACTIONS,
    VERDICTS,
    Action,
    Candidate,
    Decision,
    Draft,
    InvalidAnnotationFolder,
    RawAnswer,
    Reason,
    Review,
    ReviewedAnnotation,
    StaleRevision,
    Verdict,
)
from vila_ros.errors import InvalidRequest

__all__ = [
    "AnnotationFolder",
    "Candidate",
    "Decision",
    "Draft",
    "RawAnswer",
    "Reason",
    "Review",
    "ReviewedAnnotation",
    "StaleRevision",
    "reviewed",
]

FORMAT = "vila_ros annotations"
VERSION = 1
MANIFEST = "annotations.json"
CANDIDATES = "candidates.jsonl"
IMAGES, DRAFTS, REVIEWS = "images", "drafts", "reviews"
MAX_REVIEWER = 100
MAX_NOTE = 2000
# Edits of one person that follow each other so closely are one step of the history.
_SAME_EDIT_NS = 10_000_000_000
ACCEPTED: tuple[Verdict, ...] = ("accepted",)
# The parent of the draft: undo ends there.
_NOTHING = -1
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class AnnotationFolder:
    """An annotation folder that is complete. Thread-safe, also between processes.

    clock: nanoseconds since the Unix epoch. Raises InvalidAnnotationFolder if it is none, of
    another version, or damaged; the message names the file and the line.
    """

    def __init__(self, folder: Path | str, clock: Callable[[], int] = time.time_ns) -> None:
        self.path = Path(folder)
        self._clock = clock
        self._lock = threading.Lock()
        self.manifest = read_manifest(self.path)
        self.candidates: Mapping[str, Candidate] = {
            candidate.id: candidate for candidate in _read_candidates(self.path)
        }

    def candidate(self, candidate_id: str) -> Candidate:
        """A candidate by its id. Raises InvalidRequest for one that is not there."""
        found = self.candidates.get(candidate_id)
        if found is None:
            raise InvalidRequest(f"{self.path} has no candidate {candidate_id!r}.")
        return found

    def image(self, candidate_id: str) -> Path:
        """The file of a candidate's frame."""
        return self.path / self.candidate(candidate_id).image

    def draft(self, candidate_id: str) -> Draft:
        """What the model proposed; an empty draft where there is none."""
        self.candidate(candidate_id)
        path = self.path / DRAFTS / f"{candidate_id}.json"
        if not path.exists():
            return Draft(candidate_id, empty_annotation())
        row = read_json(path)
        try:
            return draft_from_json(row)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidAnnotationFolder(f"{path} is damaged: {_reason(error)}.") from error

    def review(self, candidate_id: str) -> Review:
        """What was decided so far."""
        return self._review(candidate_id, self.draft(candidate_id))

    def verdict(self, candidate_id: str) -> tuple[Verdict, int]:
        """A candidate's verdict and revision."""
        history = self._history(candidate_id)
        return (history[-1].verdict, history[-1].revision) if history else ("pending", 0)

    def decide(
        self,
        candidate_id: str,
        action: Action,
        revision: int,
        annotation: Any = None,
        reviewer: str = "",
        note: str | None = None,
    ) -> Review:
        """Take a decision; it is on disk when this returns.

        action: "edit" keeps the verdict, "accept", "reject", "undo" returns to the state before
        the last decision that was not undone. revision: of the state that it was based on.
        annotation, note: the new ones; None keeps them (and for "undo" they are ignored). Raises
        StaleRevision with the stored state if that is another revision, InvalidRequest for a
        field that is wrong, InvalidAnnotationFolder if it cannot be saved.
        """
        candidate = self.candidate(candidate_id)
        if action not in ACTIONS:
            raise InvalidRequest(f"the action is {action!r}; it must be one of {_list(ACTIONS)}")
        if len(reviewer) > MAX_REVIEWER or len(note or "") > MAX_NOTE:
            raise InvalidRequest(
                f"a reviewer's name has at most {MAX_REVIEWER} characters, a note {MAX_NOTE}"
            )
        if annotation is not None:
            annotation = checked_annotation(annotation, candidate.width, candidate.height)
        draft = self.draft(candidate_id)
        with self._locked():
            current = self._review(candidate_id, draft)
            if revision != current.revision:
                raise StaleRevision(
                    f"{candidate_id} is at revision {current.revision}, not {revision}: "
                    f"{current.reviewer or 'someone'} has changed it meanwhile.",
                    current,
                )
            if action == "undo":
                decision = self._undone(current, draft, reviewer)
            else:
                decision = Decision(
                    revision=revision + 1,
                    parent=revision,
                    action=action,
                    verdict=_verdict_after(action, current.verdict),
                    annotation=current.annotation if annotation is None else annotation,
                    reviewer=reviewer,
                    time_ns=self._clock(),
                    note=current.note if note is None else note,
                )
            self._save(candidate_id, _appended(current.history, decision))
            return self._review(candidate_id, draft)

    def _undone(self, current: Review, draft: Draft, reviewer: str) -> Decision:
        if not current.history or current.history[-1].parent == _NOTHING:
            raise InvalidRequest(f"{current.candidate_id}: there is nothing to undo.")
        steps = {step.revision: step for step in current.history}
        steps[0] = Decision(0, _NOTHING, "edit", "pending", draft.annotation, "", 0)
        before = steps[current.history[-1].parent]
        return Decision(
            revision=current.revision + 1,
            parent=before.parent,
            action="undo",
            verdict=before.verdict,
            annotation=before.annotation,
            reviewer=reviewer,
            time_ns=self._clock(),
            note=before.note,
        )

    def _review(self, candidate_id: str, draft: Draft) -> Review:
        history = self._history(candidate_id)
        if not history:
            return Review(candidate_id, 0, "pending", draft.annotation, edited=False)
        last = history[-1]
        return Review(
            candidate_id,
            last.revision,
            last.verdict,
            last.annotation,
            edited=last.annotation != draft.annotation,
            reviewer=last.reviewer,
            note=last.note,
            history=history,
        )

    def _history(self, candidate_id: str) -> tuple[Decision, ...]:
        path = self._review_file(candidate_id)
        if not path.exists():
            return ()
        row = read_json(path)
        try:
            return tuple(decision_from_json(step) for step in row["history"])
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidAnnotationFolder(f"{path} is damaged: {_reason(error)}.") from error

    def _save(self, candidate_id: str, history: tuple[Decision, ...]) -> None:
        value = {"candidate_id": candidate_id, "history": [decision_to_json(d) for d in history]}
        text = json.dumps(value, ensure_ascii=False, indent=1)
        write_whole(self._review_file(candidate_id), text.encode())

    def _review_file(self, candidate_id: str) -> Path:
        return self.path / REVIEWS / f"{candidate_id}.json"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among all threads and processes that decide in this folder."""
        path = self.path / REVIEWS / "lock"
        try:
            path.parent.mkdir(exist_ok=True)
            file = path.open("a")
        except OSError as error:
            raise InvalidAnnotationFolder(
                f"{path} cannot be written: {error.strerror}. Nothing was changed."
            ) from error
        with self._lock, file:
            fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
            yield


def reviewed(
    folder: Path | str, verdicts: Collection[Verdict] = ACCEPTED
) -> Iterator[ReviewedAnnotation]:
    """What was reviewed, in the order of the candidates; by default what was accepted.

    verdicts: "pending" adds drafts that nobody has decided on yet, with reviewer "". Raises
    InvalidAnnotationFolder for a folder that is none or damaged, InvalidRequest for a verdict that
    is none of them.
    """
    unknown = sorted(set(verdicts) - set(VERDICTS))
    if unknown:
        raise InvalidRequest(f"the verdict is {unknown[0]!r}; it must be one of {_list(VERDICTS)}")
    opened = AnnotationFolder(folder)
    for candidate in opened.candidates.values():
        draft = opened.draft(candidate.id)
        review = opened.review(candidate.id)
        if review.verdict not in verdicts:
            continue
        image = opened.image(candidate.id).absolute()
        if not image.is_file():
            raise InvalidAnnotationFolder(
                f"{image} is missing; mine the recordings again into another folder."
            )
        yield ReviewedAnnotation(
            candidate=candidate,
            recording=Path(candidate.recording),
            camera=candidate.camera,
            topic=candidate.topic,
            stamp_ns=candidate.stamp_ns,
            recorded_ns=candidate.recorded_ns,
            image=image,
            annotation=review.annotation,
            verdict=review.verdict,
            edited=review.edited,
            reviewer=review.reviewer,
            model=draft.model,
            decided_ns=review.history[-1].time_ns if review.history else 0,
            note=review.note,
        )


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """What a folder says of itself. Raises InvalidAnnotationFolder if it is no such folder."""
    path = folder / MANIFEST
    if not path.is_file():
        raise InvalidAnnotationFolder(
            f"'{folder}' holds no annotations ({MANIFEST} is missing); make some with "
            f"`vila annotate BAG… --out {folder}`."
        )
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InvalidAnnotationFolder(f"{path} is not that of a folder of annotations.")
    if manifest.get("version") != VERSION:
        raise InvalidAnnotationFolder(
            f"{path} has version {manifest.get('version')!r}; this program reads {VERSION}."
        )
    return manifest


def _read_candidates(folder: Path) -> Iterator[Candidate]:
    path = folder / CANDIDATES
    if not path.is_file():
        raise InvalidAnnotationFolder(
            f"'{folder}' is not finished ({CANDIDATES} is missing); run the same `vila annotate` "
            "again, it goes on where it stopped."
        )
    seen: set[str] = set()
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                candidate = candidate_from_json(json.loads(line))
                _check_names(candidate)
                if candidate.id in seen:
                    raise ValueError(f"the id {candidate.id} is there twice")
            except (KeyError, TypeError, ValueError) as error:
                raise InvalidAnnotationFolder(
                    f"{path}, line {number} is damaged: {_reason(error)}."
                ) from error
            seen.add(candidate.id)
            yield candidate


def _check_names(candidate: Candidate) -> None:
    """Raise ValueError for names that could lead out of the folder."""
    if not _ID.fullmatch(candidate.id):
        raise ValueError(f"the id {candidate.id!r} has other characters than A-Z a-z 0-9 . _ -")
    parts = PurePosixPath(candidate.image).parts
    if len(parts) != 2 or parts[0] != IMAGES or parts[1] in ("..", "."):
        raise ValueError(f"the image {candidate.image!r} is not in {IMAGES}/")


def _appended(history: tuple[Decision, ...], decision: Decision) -> tuple[Decision, ...]:
    """The history with a decision; an edit that goes on within seconds replaces the one before."""
    last = history[-1] if history else None
    if (
        last is not None
        and last.action == decision.action == "edit"
        and last.reviewer == decision.reviewer
        and 0 <= decision.time_ns - last.time_ns < _SAME_EDIT_NS
    ):
        return (*history[:-1], replace(decision, parent=last.parent))
    return (*history, decision)


def _verdict_after(action: Action, before: Verdict) -> Verdict:
    return {"accept": "accepted", "reject": "rejected"}.get(action, before)  # type: ignore[return-value]


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(repr(name) for name in names)


def _reason(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
