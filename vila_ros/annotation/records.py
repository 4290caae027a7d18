# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The records of an annotation folder as JSON, and files that are either whole or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vila_ros.annotation.types import (
    ACTIONS,
    VERDICTS,
    Candidate,
    Decision,
    Draft,
    InvalidAnnotationFolder,
    RawAnswer,
    Reason,
)


def candidate_to_json(candidate: Candidate) -> dict[str, Any]:
    """A candidate as JSON values."""
    fields = {name: getattr(candidate, name) for name in Candidate.__slots__}
    fields["reasons"] = [
        {name: _plain(getattr(reason, name)) for name in Reason.__slots__}
        for reason in candidate.reasons
    ]
    return fields


def candidate_from_json(row: Mapping[str, Any]) -> Candidate:
    """The candidate of candidate_to_json. Raises KeyError, TypeError or ValueError for another."""
    return Candidate(
        id=str(row["id"]),
        recording=str(row["recording"]),
        camera=str(row["camera"]),
        topic=str(row["topic"]),
        stamp_ns=int(row["stamp_ns"]),
        recorded_ns=int(row["recorded_ns"]),
        frame_id=str(row["frame_id"]),
        width=int(row["width"]),
        height=int(row["height"]),
        image=str(row["image"]),
        score=float(row["score"]),
        reasons=tuple(
            Reason(
                str(reason["miner"]),
                str(reason["text"]),
                float(reason["score"]),
                dict(reason.get("details", {})),
            )
            for reason in row["reasons"]
        ),
        also=int(row.get("also", 0)),
    )


def draft_to_json(draft: Draft) -> dict[str, Any]:
    """A draft as JSON values."""
    fields = {name: _plain(getattr(draft, name)) for name in Draft.__slots__}
    fields["answers"] = [
        {name: getattr(answer, name) for name in RawAnswer.__slots__} for answer in draft.answers
    ]
    return fields


def draft_from_json(row: Mapping[str, Any]) -> Draft:
    """The draft of draft_to_json. Raises KeyError, TypeError or ValueError for another."""
    return Draft(
        candidate_id=str(row["candidate_id"]),
        annotation=dict(row["annotation"]),
        model=str(row["model"]),
        runtime=str(row["runtime"]),
        answers=tuple(
            RawAnswer(*(str(answer[name]) for name in RawAnswer.__slots__))
            for answer in row["answers"]
        ),
    )


def decision_to_json(decision: Decision) -> dict[str, Any]:
    """A decision as JSON values."""
    return {name: _plain(getattr(decision, name)) for name in Decision.__slots__}


def decision_from_json(row: Mapping[str, Any]) -> Decision:
    """The decision of decision_to_json. Raises KeyError, TypeError or ValueError for another."""
    if row["action"] not in ACTIONS or row["verdict"] not in VERDICTS:
        raise ValueError(f"unknown action {row['action']!r} or verdict {row['verdict']!r}")
    return Decision(
        revision=int(row["revision"]),
        parent=int(row["parent"]),
        action=row["action"],
        verdict=row["verdict"],
        annotation=dict(row["annotation"]),
        reviewer=str(row["reviewer"]),
        time_ns=int(row["time_ns"]),
        note=str(row["note"]),
    )


def to_line(value: Mapping[str, Any]) -> str:
    """JSON on one line, the same text for the same values."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": ")) + "\n"


def read_json(path: Path) -> Any:
    """A JSON file's value. Raises InvalidAnnotationFolder, also for a file that is not there."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidAnnotationFolder(f"{path} cannot be read: {_why(error)}.") from error
    except ValueError as error:
        raise InvalidAnnotationFolder(f"{path} is damaged, it is no JSON: {error}.") from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is old or new after any crash, and on disk on return.

    Raises InvalidAnnotationFolder when it cannot be; what was there before stays.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise InvalidAnnotationFolder(
            f"{path} cannot be written: {_why(error)}. What was saved before is unchanged."
        ) from error


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
