# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From recordings to an annotation folder: mined, drafted, resumed, the same wherever it ran."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from test.annotation.conftest import START_NS
from vila_ros.annotation import run as running
from vila_ros.annotation.cameras import scanned_cameras
from vila_ros.annotation.motion import MotionLimits
from vila_ros.annotation.run import Fleet, annotate
from vila_ros.annotation.selection import recording_names
from vila_ros.annotation.settings import AnnotationSettings, VisionSpec
from vila_ros.annotation.store import AnnotationFolder
from vila_ros.bags.compressed_image import COMPRESSED_IMAGE, serialize_compressed_image
from vila_ros.bags.recording import open_recording
from vila_ros.bags.serialization import serialize, serialize_float32, standard_types
from vila_ros.bags.writer import BagWriter
from vila_ros.engine.interface import EngineSpec
from vila_ros.errors import InvalidRecording, InvalidRequest, UnusableFolder
from vila_ros.fleet.engines import close_engines

SECOND = 1_000_000_000
ENGINE = EngineSpec("test.annotation.engines:BrightnessEngine", "tiny")
CAMERA = "/front/image_raw/compressed"
# Questions about brightness, of which one frame in ten is worth a look.
SETTINGS = AnnotationSettings(
    every=1.0, limits=None, engine=ENGINE, questions=("Is it dark?",), confidence=0.0
)


def jpeg(value, number=0):
    """A picture of about that brightness; other numbers look different."""
    noise = np.random.default_rng(number).integers(-30, 30, (6, 8, 3))
    small = np.clip(value + noise, 0, 255).astype(np.uint8)
    picture = cv2.resize(small, (64, 48), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", picture)[1].tobytes()


def record(path, brightness, storage="mcap", rate=2.0, start_ns=START_NS, seed=0, speeds=()):
    """A camera of one frame for each brightness, and a speed at ten a second."""
    with BagWriter(path, storage) as writer:
        for number, value in enumerate(brightness):
            stamp = start_ns + round(number / rate * SECOND)
            image = serialize_compressed_image(
                stamp, "cam", "jpeg", jpeg(value, 100 * seed + number)
            )
            writer.write(CAMERA, COMPRESSED_IMAGE, stamp, image)
        for number, speed in enumerate(speeds):
            stamp = start_ns + round(number / 10 * SECOND)
            writer.write("/speed", "std_msgs/msg/Float32", stamp, serialize_float32(speed))
    return path


@pytest.fixture
def drives(tmp_path):
    """Two recordings, bright but for a few frames."""
    lights = [200, 200, 200, 200, 10, 200, 200, 200, 200, 200, 200, 200, 30, 200, 200, 200]
    return [
        record(tmp_path / "north.bag", lights, "mcap", seed=1),
        record(tmp_path / "south", lights[::-1], "sqlite3", seed=2),
    ]


@pytest.fixture(autouse=True)
def engines():
    yield
    close_engines()


def content(folder):
    """Every file of a folder but the run's own notes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".vila" not in path.parts
    }


def test_frames_that_answer_yes_become_candidates_with_drafts(drives, tmp_path):
    outcome = annotate(drives, tmp_path / "out", SETTINGS, Fleet())
    assert outcome.complete
    assert outcome.frames == 16
    assert outcome.failed == outcome.warnings == ()
    store = AnnotationFolder(tmp_path / "out")
    # Sampled once a second: frame 4 and 12 in the north, 3 and 11 turned around are odd ones.
    seconds = sorted((c.stamp_ns - START_NS) / SECOND for c in store.candidates.values())
    assert seconds == [2.0, 6.0]
    for candidate in store.candidates.values():
        assert candidate.id == f"north-front-{candidate.stamp_ns}"
        assert candidate.recording == str(drives[0])
        assert (candidate.width, candidate.height) == (64, 48)
        assert candidate.reasons[0].miner == "question"
        number = (candidate.stamp_ns - START_NS) // (SECOND // 2)
        value = {4: 10, 12: 30}[number]
        # The recording's own bytes.
        assert store.image(candidate.id).read_bytes() == jpeg(value, 100 + number)
        assert store.draft(candidate.id).model == "tiny"
    scores = [candidate.score for candidate in store.candidates.values()]
    assert scores == sorted(scores, reverse=True)


def test_the_same_command_again_does_nothing_and_another_is_refused(drives, tmp_path):
    out = tmp_path / "out"
    annotate(drives, out, SETTINGS, Fleet())
    before = content(out)
    again = annotate(drives, out, SETTINGS, Fleet())
    assert again.was_complete
    assert len(again.candidates) == 2
    assert content(out) == before
    with pytest.raises(UnusableFolder, match="is of another run"):
        annotate(drives, out, replace(SETTINGS, every=0.5), Fleet())
    with pytest.raises(UnusableFolder, match="is of another run"):
        annotate(drives[:1], out, SETTINGS, Fleet())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(UnusableFolder, match="holds 1 files"):
        annotate(drives, tmp_path / "other", SETTINGS, Fleet())
    assert content(out) == before


def test_any_number_of_workers_and_slices_gives_the_same_bytes(drives, tmp_path, monkeypatch):
    annotate(drives, tmp_path / "one", SETTINGS, Fleet())
    annotate(drives, tmp_path / "two", SETTINGS, Fleet(workers=2))
    assert content(tmp_path / "one") == content(tmp_path / "two")
    monkeypatch.setattr(running, "SLICE_SECONDS", 2.6)
    annotate(drives, tmp_path / "slices", SETTINGS, Fleet())
    assert content(tmp_path / "slices") == content(tmp_path / "one")


@pytest.mark.parametrize("part", ["engine", "second", "vision"])
def test_a_model_that_was_trained_anew_is_another_run(part, drives, golden, tmp_path):
    model = shutil.copytree(golden, tmp_path / "model")
    spec = VisionSpec(str(model)) if part == "vision" else replace(ENGINE, model=str(model))
    settings = replace(SETTINGS, drafts=False, **{part: spec})
    out = tmp_path / "out"
    assert annotate(drives[:1], out, settings, Fleet()).complete
    assert annotate(drives[:1], out, settings, Fleet()).was_complete
    weights = next(model.rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-4] + b"anew")
    with pytest.raises(UnusableFolder, match=rf"of another run: models\.{part}\.files was"):
        annotate(drives[:1], out, settings, Fleet())


KILLED = """
import os, signal, sys
from pathlib import Path
from test.annotation.test_run import SETTINGS
from vila_ros.annotation import run
from vila_ros.annotation.run import Fleet, annotate
after, calls = int(sys.argv[2]), 0
def told(stage, progress):
    global calls
    calls += 1
    if calls == after:
        os.kill(os.getpid(), signal.SIGKILL)
run.CHUNK = 1
annotate([Path(p) for p in sys.argv[3:]], Path(sys.argv[1]), SETTINGS, Fleet(progress=told))
"""


def test_a_kill_at_any_step_and_the_same_command_give_the_same_bytes(drives, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    annotate(drives, whole, SETTINGS, Fleet())
    for after in (2, 4):
        command = [sys.executable, "-c", KILLED, str(broken), str(after), *map(str, drives)]
        root = Path(__file__).resolve().parents[2]
        environment = {**os.environ, "PYTHONPATH": f"{root}:{os.environ.get('PYTHONPATH', '')}"}
        done = subprocess.run(command, cwd=root, env=environment, check=False)
        assert done.returncode == -signal.SIGKILL
        with pytest.raises(InvalidRequest, match="is not finished"):
            AnnotationFolder(broken)
    annotate(drives, broken, SETTINGS, Fleet())
    assert content(broken) == content(whole)


def test_motion_names_moments_between_the_samples(tmp_path):
    speeds = [10.0] * 32 + [10.0 - 0.8 * i for i in range(1, 11)] + [2.0] * 20
    bag = record(tmp_path / "drive", [200] * 12, speeds=speeds)
    settings = AnnotationSettings(every=10.0, limits=MotionLimits(), questions=())
    outcome = annotate([bag], tmp_path / "out", settings, Fleet())
    (candidate,) = outcome.candidates
    assert "braked hard: 8.0 m/s² (/speed)" in candidate.reasons[0].text
    # The first frame after the peak; only two frames were looked at.
    assert candidate.stamp_ns - START_NS in (round(3.5 * SECOND), 4 * SECOND)
    assert outcome.frames == 2
    assert AnnotationFolder(tmp_path / "out").draft(candidate.id).model == ""


def test_novelty_is_seen_by_a_models_vision_tower(tmp_path, golden):
    bags = [record(tmp_path / f"drive{i}", [180] * 20, rate=0.05, seed=0) for i in range(2)]
    odd = record(tmp_path / "odd", [180] * 5 + [5] + [180] * 4, rate=0.05, seed=0)
    vision = VisionSpec(str(golden))
    settings = AnnotationSettings(every=20.0, limits=None, vision=vision, novelty=0.02)
    outcome = annotate([*bags, odd], tmp_path / "out", settings, Fleet())
    (candidate,) = outcome.candidates
    assert candidate.id == f"odd-front-{START_NS + 100 * SECOND}"
    assert candidate.reasons[0].miner == "novelty"


def test_a_damaged_frame_is_skipped_and_told(tmp_path):
    bag = tmp_path / "drive"
    with BagWriter(bag) as writer:
        for number in range(8):
            stamp = START_NS + number * SECOND // 2
            data = jpeg(10, number)
            data = data[: len(data) // 2] if number == 2 else data
            image = serialize_compressed_image(stamp, "cam", "jpeg", data)
            writer.write(CAMERA, COMPRESSED_IMAGE, stamp, image)
    outcome = annotate([bag], tmp_path / "out", SETTINGS, Fleet())
    assert outcome.frames == 4
    (warning,) = outcome.warnings
    assert warning.startswith(f"drive: {CAMERA} at {START_NS + SECOND}: ")
    assert "incomplete" in warning


def test_a_truncated_recording_is_read_as_far_as_it_goes(drives, tmp_path):
    (file,) = drives[0].glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 7 // 10])
    outcome = annotate(drives[:1], tmp_path / "out", SETTINGS, Fleet())
    assert outcome.complete
    assert [c.stamp_ns - START_NS for c in outcome.candidates] == [2 * SECOND]
    assert outcome.frames < 8
    assert outcome.warnings


def test_a_frame_that_the_model_does_not_take_is_skipped(tmp_path):
    refusing = EngineSpec("test.annotation.engines:RefusingEngine", "tiny")
    bag = record(tmp_path / "drive", [10, 10, 250, 10, 10, 10])
    settings = replace(SETTINGS, engine=refusing, drafts=False)
    outcome = annotate([bag], tmp_path / "out", settings, Fleet())
    assert outcome.frames == 2
    (warning,) = outcome.warnings
    assert "too bright for this model" in warning


def test_a_recording_that_fails_is_told_and_finished_without_on_demand(drives, tmp_path):
    bare = tmp_path / "bare"
    with BagWriter(bare) as writer:
        writer.write("/speed", "std_msgs/msg/Float32", START_NS, serialize_float32(1.0))
    out = tmp_path / "out"
    outcome = annotate([*drives, bare], out, SETTINGS, Fleet())
    assert not outcome.complete
    (failed,) = outcome.failed
    assert failed.startswith(f"bare: '{bare}' has no topic of sensor_msgs Image or CompressedImage")
    outcome = annotate([*drives, bare], out, SETTINGS, Fleet(), skip_failed=True)
    assert outcome.complete
    assert len(outcome.candidates) == 2


def test_raw_images_become_jpegs_and_compressed_topics_are_preferred(tmp_path):
    types = standard_types().types
    bag = tmp_path / "raw"
    with BagWriter(bag) as writer:
        for number in range(3):
            stamp = START_NS + number * SECOND
            header = types["std_msgs/msg/Header"](
                stamp=types["builtin_interfaces/msg/Time"](*divmod(stamp, SECOND)), frame_id="cam"
            )
            pixels = np.full((48, 64, 3), 20 + 100 * number, np.uint8)
            kind = "sensor_msgs/msg/Image"
            message = types[kind](header, 48, 64, "rgb8", 0, 192, pixels.ravel())
            writer.write("/rear/image_raw", kind, stamp, serialize(message, kind))
            image = serialize_compressed_image(stamp, "cam", "jpeg", jpeg(200, number))
            writer.write(CAMERA, COMPRESSED_IMAGE, stamp, image)
            writer.write("/front/image_raw", kind, stamp, serialize(message, kind))
    cameras = scanned_cameras(open_recording(bag))
    assert [(camera.name, camera.topic) for camera in cameras] == [
        ("front", CAMERA), ("rear", "/rear/image_raw"),
    ]  # fmt: skip
    outcome = annotate([bag], tmp_path / "out", SETTINGS, Fleet())
    (candidate,) = outcome.candidates
    assert candidate.camera == "rear"
    image = cv2.imread(str(tmp_path / "out" / candidate.image))
    assert image.shape == (48, 64, 3)
    assert abs(int(image.mean()) - 20) <= 1
    only = replace(SETTINGS, cameras=("front",))
    assert annotate([bag], tmp_path / "only", only, Fleet()).candidates == ()
    with pytest.raises(InvalidRequest, match=r"no camera side; it has front \(.*\), rear"):
        scanned_cameras(open_recording(bag), ("side",))


def test_names_of_recordings_are_plain_and_different():
    paths = [Path(p) for p in ("/a/my drive.mcap", "/b/my drive.mcap", "/c/my_drive", "/d/…")]
    assert recording_names(paths) == ["my_drive", "my_drive.2", "my_drive.3", "recording"]


def test_mistakes_are_told_before_anything_is_made(drives, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InvalidRequest, match="is named twice"):
        annotate([drives[0], drives[0]], out, SETTINGS, Fleet())
    with pytest.raises(InvalidRecording, match="does not exist"):
        annotate([tmp_path / "nothing"], out, SETTINGS, Fleet())
    assert not out.exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"every": 0}, "--every is 0 s"),
        ({"most": 0}, "--most is 0"),
        ({"novelty": 2}, "--novelty is 2"),
        ({"confidence": 0.4}, r"--confidence is 0\.4"),
        ({"steering_scale": 0}, "--steering-scale is 0"),
        ({"opposite": (("a", "b"),)}, "questions need a model"),
        ({"limits": None}, "nothing is looked for"),
    ],
)
def test_settings_have_limits(fields, message):
    with pytest.raises(InvalidRequest, match=message):
        AnnotationSettings(**fields)


def test_settings_survive_json():
    import json

    settings = replace(SETTINGS, vision=VisionSpec("x"), same=(("a", "b"),), cameras=("front",))
    assert AnnotationSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
