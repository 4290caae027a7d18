# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What scans left on disk, compared without loading it."""

import numpy as np
import pytest

from vila_ros.annotation.records import to_line
from vila_ros.annotation.scanning import ScannedFrame
from vila_ros.annotation.selection import Scanned, StoredEmbeddings, select
from vila_ros.annotation.settings import AnnotationSettings
from vila_ros.annotation.types import InvalidAnnotationFolder, Reason

SECOND = 1_000_000_000


def write_scan(folder, scores, first=0):
    """A scan of frames ten seconds apart; a frame has a reason if its score is not 0."""
    folder.mkdir()
    lines, times = [], [(first + i) * 10 * SECOND for i in range(len(scores))]
    for time, score in zip(times, scores, strict=True):
        reasons = (Reason("motion", "braked", score, {"limit": 3.0}),) if score else ()
        frame = ScannedFrame("front", "/front", time, time, "cam", 64, 48, reasons)
        lines.append(to_line(frame.to_json()))
    (folder / "frames.jsonl").write_text("".join(lines))
    chance = np.random.default_rng(first + 1)
    rows = chance.normal(size=(len(scores), 4))
    np.save(folder / "times.npy", np.array(times, np.int64))
    np.save(folder / "cameras.npy", np.zeros(len(scores), np.int32))
    np.save(folder / "hashes.npy", chance.integers(0, 2**63, len(scores), dtype=np.uint64))
    np.save(folder / "embeddings.npy", rows.astype(np.float16))
    return rows


def test_the_best_of_all_scans_are_chosen_in_order(tmp_path):
    write_scan(tmp_path / "a", [0.5, 0, 0.9])
    write_scan(tmp_path / "b", [])
    write_scan(tmp_path / "c", [0, 0.7, 0.1], first=3)
    scans = [Scanned(0, tmp_path / "a"), Scanned(1, tmp_path / "b"), Scanned(1, tmp_path / "c")]
    recordings = [tmp_path / "north", tmp_path / "south"]
    chosen = select(scans, recordings, AnnotationSettings(most=3), [])
    assert [(c.id, c.score) for c in chosen] == [
        (f"north-front-{20 * SECOND}", 0.9),
        (f"south-front-{40 * SECOND}", 0.7),
        (f"north-front-{0}", 0.5),
    ]
    assert chosen[0].recording == str(tmp_path / "north")
    assert chosen[0].reasons == (Reason("motion", "braked", 0.9, {"limit": 3.0}),)


def test_embeddings_are_taken_from_the_files_by_row(tmp_path):
    rows = [write_scan(tmp_path / name, [0.5] * n, n) for name, n in (("a", 3), ("b", 0), ("c", 5))]
    scans = [Scanned(0, tmp_path / name) for name in ("a", "b", "c")]
    stored = StoredEmbeddings(scans, [3, 0, 5])
    taken = stored.take(np.array([0, 2, 3, 7]))
    expected = np.concatenate(rows)[[0, 2, 3, 7]]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert stored.width == 4
    np.testing.assert_allclose(taken, expected, atol=2e-3)


def test_a_damaged_scan_is_named(tmp_path):
    write_scan(tmp_path / "a", [0.5])
    (tmp_path / "a" / "frames.jsonl").write_text("{")
    with pytest.raises(InvalidAnnotationFolder, match=r"frames\.jsonl cannot be read"):
        select([Scanned(0, tmp_path / "a")], [tmp_path], AnnotationSettings(), [])
    (tmp_path / "a" / "hashes.npy").write_bytes(b"no array")
    with pytest.raises(InvalidAnnotationFolder, match=r"hashes\.npy cannot be read"):
        select([Scanned(0, tmp_path / "a")], [tmp_path], AnnotationSettings(), [])
