# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From recordings to training data as a whole: exactly once, whatever happens in between."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from test.datasets import hooks
from test.datasets.export_data import (
    FRONT,
    RAW,
    REAR,
    SCENE,
    SPEED_TEMPLATE,
    START_NS,
    TENTH,
    contents,
    export,
    jpeg,
    lines,
    raw_image,
    scene_description,
    write_recording,
)
from vila_ros.bags.recorded_cameras import watched_cameras
from vila_ros.bags.recording import open_recording
from vila_ros.bags.serialization import standard_types
from vila_ros.bags.writer import BagWriter
from vila_ros.datasets.logged_types import definitions
from vila_ros.datasets.split import SplitRule
from vila_ros.errors import InvalidRequest, UnusableFolder, VilaError

ROOT = Path(__file__).resolve().parents[2]
EVERY = """\
samples:
  - {name: look, every: 0, question: "What is there?", answer: "A picture at {time:.1f} s."}
"""
MANY = (
    SPEED_TEMPLATE
    + """\
  - {name: clip, media: video, frames: 4, over: 0.6, every: 1, question: "What happens?", answer: b}
  - {name: change, media: images, frames: 2, over: 0.5, every: 1,
     question: "First <image>, then <image>. Faster?", answer: "{speed:.1f}"}
"""
)
WHOLE = {"split": SplitRule(val=0)}


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return write_recording(tmp_path_factory.mktemp("bags") / "drive")


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_jpegs_are_copied_byte_for_byte(tmp_path, storage):
    recording = write_recording(tmp_path / "drive", storage=storage, cameras=(FRONT, REAR))
    report = export(tmp_path, recording, template=EVERY, **WHOLE)
    assert report.statistics["pictures"] == {
        "files": 80, "bytes": report.statistics["pictures"]["bytes"], "copied": 80, "encoded": 0,
        "blurred": 0,
    }  # fmt: skip
    for index in range(40):
        stamp = START_NS + index * TENTH
        for number, camera in enumerate(("front", "rear")):
            file = tmp_path / "out/media/drive/0000" / camera / f"{stamp}.jpg"
            assert file.read_bytes() == jpeg(100 * number + index)


def test_answers_say_what_the_topics_said(tmp_path, bag):
    export(tmp_path, bag, template=SPEED_TEMPLATE, **WHOLE)
    rows = json.loads((tmp_path / "out/train_image.json").read_text())
    answers = [row["conversations"][1]["value"] for row in rows]
    assert answers == [f"{'slow' if v < 10 else 'fast'}, {v:.1f} m/s"
                       for v in (0.0, 2.5, 5.0, 7.5, 10.0, 12.5, 15.0, 17.5)]  # fmt: skip


def test_training_and_validation_are_apart_and_nothing_is_twice(tmp_path, bag):
    report = export(tmp_path, bag, template=EVERY, split=SplitRule("time", 0.25, 0.3))
    rows = {part: json.loads((tmp_path / f"out/{part}_image.json").read_text())
            for part in ("train", "val")}  # fmt: skip
    times = {part: {int(Path(row["image"]).stem) for row in found} for part, found in rows.items()}
    assert not times["train"] & times["val"]
    nearest = min(abs(a - b) for a in times["train"] for b in times["val"])
    assert nearest >= 0.3e9
    left_out = report.statistics["left_out"]["between training and validation"]
    assert sum(len(found) for found in times.values()) + left_out == 40
    assert set((tmp_path / "out/media/drive/0000/front").iterdir()) == {
        tmp_path / "out" / row["image"] for found in rows.values() for row in found
    }


def test_frames_between_training_and_validation_are_not_made(tmp_path, bag):
    hooks.SEEN.clear()
    changes = {"hook": "test.datasets.hooks:notes", "split": SplitRule("time", 0.25, 0.3)}
    report = export(tmp_path, bag, template=EVERY, **changes)
    left_out = report.statistics["left_out"]["between training and validation"]
    assert left_out > 0
    assert len(hooks.SEEN) == 40 - left_out


def test_provenance_names_where_every_sample_is_from(tmp_path, bag):
    export(tmp_path, bag, template=MANY)
    rows = [row for path in (tmp_path / "out").glob("*_*.json")
            for row in json.loads(path.read_text())]  # fmt: skip
    provenance = {row["id"]: row for row in lines(tmp_path / "out/provenance.jsonl")}
    assert set(provenance) == {row["id"] for row in rows}
    one = next(row for row in provenance.values() if row["rule"] == "change")
    assert [media["topic"] for media in one["media"]] == [FRONT, FRONT]
    assert one["media"][1]["stamp_ns"] - one["media"][0]["stamp_ns"] == 5 * TENTH
    assert one["recording"] == "drive"
    assert one["values"]["speed"] == (one["media"][1]["stamp_ns"] - START_NS) / TENTH / 2


# --- the same bytes, however it was done ---------------------------------------------------------


@pytest.mark.parametrize("format", ["vila", "webdataset"])
def test_slices_and_workers_do_not_change_the_samples(tmp_path, bag, format):
    changes = {"template": MANY, "format": format}
    export(tmp_path, bag, **changes, slice=1.5, out="one")
    from test.datasets.export_data import options
    from vila_ros.datasets.export import run_export

    run_export(options(tmp_path, bag, **changes, slice=1.5), tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    export(tmp_path, bag, **changes, slice=100, out="whole")
    ids = [[row["id"] for row in lines(tmp_path / name / "provenance.jsonl")]
           for name in ("one", "whole")]  # fmt: skip
    assert sorted(ids[0]) == sorted(ids[1])
    listed = [row["id"] for path in (tmp_path / "one").glob("*_*.json")
              for row in json.loads(path.read_text())]  # fmt: skip
    assert sorted(listed) == (sorted(ids[0]) if format == "vila" else [])


def start(tmp_path: Path, bag: Path, out: str, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "vila_ros.cli.main", "export", str(bag), "--template",
               str(tmp_path / "t.yaml"), "--slice", "1", "--threads", "1", "--gap", "0.2", "--out",
               str(tmp_path / out), *more]  # fmt: skip
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_for(condition, process: subprocess.Popen) -> None:
    while not condition() and process.poll() is None:
        time.sleep(0.002)


@pytest.mark.parametrize(("format", "victim"), [("vila", "driver"), ("webdataset", "worker")])
def test_after_kill_9_the_same_command_ends_with_the_same_bytes(tmp_path, bag, format, victim):
    (tmp_path / "t.yaml").write_text(MANY)
    more = ["--format", format, "--workers", "2"]
    assert start(tmp_path, bag, "straight", *more).wait() == 0
    process = start(tmp_path, bag, "killed", *more)
    parts = tmp_path / "killed/.vila/ledger/parts"
    wait_for(lambda: parts.is_dir() and any(parts.iterdir()), process)
    if victim == "driver":
        process.kill()
        process.wait()
        assert not (tmp_path / "killed/statistics.json").exists()
        process = start(tmp_path, bag, "killed", *more)
    else:
        workers = [each for each in psutil.Process(process.pid).children(recursive=True)
                   if "fleet.worker" in " ".join(each.cmdline())]  # fmt: skip
        workers[0].kill()
    assert process.wait() == 0, process.stderr.read()
    assert contents(tmp_path / "killed") == contents(tmp_path / "straight")


def test_a_crash_while_the_formats_files_are_written_is_gone_on_from(tmp_path, bag, monkeypatch):
    from vila_ros.datasets.writing.vila_json import VilaJson

    def crash(self, export, groups):
        raise RuntimeError("crash")

    export(tmp_path, bag, template=MANY, slice=1.5, out="straight")
    with monkeypatch.context() as patch:
        patch.setattr(VilaJson, "_register", crash)
        with pytest.raises(RuntimeError):
            export(tmp_path, bag, template=MANY, slice=1.5)
    export(tmp_path, bag, template=MANY, slice=1.5)
    assert contents(tmp_path / "out") == contents(tmp_path / "straight")


def test_a_complete_export_is_left_as_it_is(tmp_path, bag):
    export(tmp_path, bag, template=MANY)
    before = contents(tmp_path / "out")
    report = export(tmp_path, bag, template=MANY)
    assert report.already
    assert report.statistics["samples"]["total"] > 0
    assert contents(tmp_path / "out") == before


# --- what users do wrong -------------------------------------------------------------------------


def test_the_folder_of_another_export_is_not_touched(tmp_path, bag):
    export(tmp_path, bag, template=MANY)
    before = contents(tmp_path / "out")
    with pytest.raises(UnusableFolder, match="is of another run: quality was 95, now it is 80"):
        export(tmp_path, bag, template=MANY, quality=80)
    assert contents(tmp_path / "out") == before


def test_a_folder_with_other_files_is_not_touched(tmp_path, bag):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("years of work")
    with pytest.raises(UnusableFolder, match=r"thesis\.tex"):
        export(tmp_path, bag, template=EVERY)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("format", ["vila", "webdataset", "lerobot"])
def test_a_full_disk_is_told_and_the_rest_is_done_later(tmp_path, bag, format):
    """Files may not grow beyond a limit, as on a disk that is full."""
    (tmp_path / "t.yaml").write_text(EVERY.replace("every: 0", "every: 0.1"))
    command = [sys.executable, "-m", "vila_ros.cli.main", "export", str(bag), "--template",
               str(tmp_path / "t.yaml"), "--format", format, "--out", str(tmp_path / "out"),
               "--threads", "1"]  # fmt: skip

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False,
                          preexec_fn=limit, env=environment)  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert re.search(r"vila export: .*cannot be written: File too large", done.stderr), done.stderr
    assert "defect" not in done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".vila"}
    assert not any((tmp_path / "out/.vila/ledger/parts").iterdir())
    if format == "vila":
        again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stderr


def test_a_missing_topic_is_told_before_anything_is_written(tmp_path, bag):
    with pytest.raises(InvalidRequest, match="read from '/velocity', which"):
        export(tmp_path, bag, template=SPEED_TEMPLATE.replace("/speed", "/velocity"))
    assert not (tmp_path / "out").exists()


def test_a_missing_camera_is_told(tmp_path, bag):
    with pytest.raises(InvalidRequest, match=r"no camera 'left'; it has front \(/front/image_raw"):
        export(tmp_path, bag, template=EVERY, cameras=("left",))


def test_nothing_to_make_samples_of_is_told(tmp_path, bag):
    with pytest.raises(InvalidRequest, match="name a --template or --annotations"):
        export(tmp_path, bag)


def test_an_export_without_any_sample_is_told_and_the_folder_stays_free(tmp_path, bag):
    never = SPEED_TEMPLATE.replace("every: 0.5", "every: 0.5, when: {speed: [90, 99]}")
    with pytest.raises(InvalidRequest, match="would hold no sample"):
        export(tmp_path, bag, template=never)
    export(tmp_path, bag, template=EVERY)


def test_the_same_recording_twice_is_refused(tmp_path, bag):
    with pytest.raises(InvalidRequest, match="is named twice"):
        export(tmp_path, bag, bag, template=EVERY)


# --- recordings that are not as they should be ---------------------------------------------------


def test_a_truncated_recording_is_exported_as_far_as_it_goes(tmp_path):
    recording = write_recording(tmp_path / "drive", frames=400)
    (file,) = recording.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * 0.6)])
    report = export(tmp_path, recording, template=EVERY, **WHOLE)
    assert 150 < report.statistics["samples"]["train"] < 300
    assert any("its end is missing" in warning for warning in report.warnings)


def test_an_empty_recording_is_refused(tmp_path):
    with BagWriter(tmp_path / "drive") as writer:
        writer.add_topic(FRONT, "sensor_msgs/msg/CompressedImage")
    with pytest.raises(InvalidRequest, match="holds no message"):
        export(tmp_path, tmp_path / "drive", template=EVERY)


def test_what_is_no_recording_is_refused(tmp_path):
    (tmp_path / "drive.mcap").write_bytes(b"\x89MCAP9\r\n" + b"x" * 100)
    with pytest.raises(VilaError, match=r"drive\.mcap"):
        export(tmp_path, tmp_path / "drive.mcap", template=EVERY)


def test_mixed_resolutions_are_exported_and_counted(tmp_path):
    one = write_recording(tmp_path / "one", frames=10)
    two = write_recording(tmp_path / "two", frames=10, size=(64, 48), start_ns=START_NS + 10**12)
    report = export(tmp_path, one, two, template=EVERY, **WHOLE)
    assert report.statistics["sizes"] == {"48x32": 10, "64x48": 10}


def test_recordings_of_the_same_time_and_name_stay_apart(tmp_path):
    one = write_recording(tmp_path / "a/drive", frames=40)
    two = write_recording(tmp_path / "b/drive", frames=40, seed=1)
    report = export(tmp_path, one, two, template=EVERY, split=SplitRule("time", 0.25, 0.3))
    assert any("drive, drive_2 overlap in time" in warning for warning in report.warnings)
    rows = [json.loads((tmp_path / f"out/{part}_image.json").read_text())
            for part in ("train", "val")]  # fmt: skip
    train, val = ({int(Path(row["image"]).stem) for row in found} for found in rows)
    assert min(abs(a - b) for a in train for b in val) >= 0.3e9  # also across the recordings
    pictures = {(tmp_path / "out" / row["image"]).read_bytes() for row in rows[0] + rows[1]}
    assert len(pictures) == len(rows[0]) + len(rows[1])


def test_stamps_out_of_order_and_missing_are_exported_once(tmp_path):
    from vila_ros.bags.compressed_image import serialize_compressed_image

    stamps = [5, 3, 3, 0, 9, 7]
    with BagWriter(tmp_path / "drive") as writer:
        for index, tenth in enumerate(stamps):
            stamp = START_NS + tenth * TENTH if tenth else 0
            data = serialize_compressed_image(stamp, "front", "jpeg", jpeg(index))
            writer.write(FRONT, "sensor_msgs/msg/CompressedImage", START_NS + index * TENTH, data)
    export(tmp_path, tmp_path / "drive", template=EVERY, **WHOLE)
    rows = json.loads((tmp_path / "out/train_image.json").read_text())
    assert len({row["id"] for row in rows}) == len(rows)
    names = [Path(row["image"]).stem for row in rows]
    # The second picture with stamp 3 is the same sample's; stamp 0 takes the time of reception.
    wanted = [5, 3, 3, 3, 9, 7]
    assert names == [str(START_NS + tenth * TENTH) for tenth in wanted]


def test_damaged_frames_are_left_out_and_counted(tmp_path):
    from vila_ros.bags.compressed_image import serialize_compressed_image

    with BagWriter(tmp_path / "drive") as writer:
        for index in range(10):
            stamp = START_NS + index * TENTH
            data = jpeg(index)[:-200] if index == 4 else jpeg(index)
            message = serialize_compressed_image(stamp, "front", "jpeg", data)
            writer.write(FRONT, "sensor_msgs/msg/CompressedImage", stamp, message)
    report = export(tmp_path, tmp_path / "drive", template=EVERY, **WHOLE)
    assert report.statistics["samples"]["train"] == 9
    assert report.statistics["left_out"] == {"damaged frame (truncated file)": 1}


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8", "yuv422_yuy2"])
def test_raw_images_are_encoded(tmp_path, encoding):
    channels = {"mono8": 1, "yuv422_yuy2": 2}.get(encoding, 3)
    rows = np.linspace(30, 220, 32)[:, None, None]
    pixels = np.broadcast_to(rows, (32, 48, channels)).astype(np.uint8).copy()
    if channels == 3:
        pixels[:, :24, 0] = 250  # red in rgb8, blue in bgr8
    if channels == 2:
        pixels[:, :, 1] = 128
    with BagWriter(tmp_path / "drive") as writer:
        for index in range(3):
            stamp = START_NS + index * TENTH
            writer.write("/front/image_raw", RAW, stamp, raw_image(stamp, pixels, encoding))
    report = export(tmp_path, tmp_path / "drive", template=EVERY, **WHOLE)
    assert report.statistics["pictures"]["encoded"] == 3
    (file, *_) = sorted((tmp_path / "out/media/drive/0000/front").iterdir())
    picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
    assert abs(int(picture[16, 40, 1]) - int(pixels[16, 40, 0])) < 24
    if channels == 3:
        strong = picture[16, 8, 2 if encoding == "rgb8" else 0]
        assert strong > 200


# --- blurring ------------------------------------------------------------------------------------


def test_only_pictures_that_the_hook_changed_are_encoded_anew(tmp_path, bag):
    report = export(
        tmp_path, bag, template=EVERY, hook="test.datasets.hooks:blackens_even", **WHOLE
    )
    assert report.statistics["pictures"]["blurred"] == 20
    for file in (tmp_path / "out/media/drive/0000/front").iterdir():
        number = (int(file.stem) - START_NS) // TENTH
        even = int(file.stem) // TENTH % 2 == 0
        assert (file.read_bytes() == jpeg(number)) != even
        if even:
            assert cv2.imread(str(file))[:6].max() < 40


@pytest.mark.parametrize("format", ["vila", "webdataset", "lerobot", "drivelm", "coda_lm"])
def test_nothing_goes_out_when_the_hook_fails(tmp_path, bag, format):
    template = EVERY.replace("every: 0", "every: 0.1")
    with pytest.raises(VilaError, match=r"fails_late' failed on camera 'front' of 'drive' at \d+"):
        export(tmp_path, bag, template=template, format=format,
               hook="test.datasets.hooks:fails_late")  # fmt: skip
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".vila"}
    assert not list((tmp_path / "out").rglob("*.jpg"))


def test_the_preview_and_videos_are_blurred_too(tmp_path, bag):
    import base64

    export(tmp_path, bag, template=EVERY.replace("every: 0", "every: 1"), format="lerobot",
           hook="test.datasets.hooks:returns_new", **WHOLE)  # fmt: skip
    page = (tmp_path / "out/preview.html").read_text()
    found = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", page)
    assert found
    for text in found:
        data = np.frombuffer(base64.b64decode(text), np.uint8)
        assert cv2.imdecode(data, cv2.IMREAD_COLOR).max() < 8


@pytest.mark.parametrize(
    ("hook", "says"),
    [
        ("nomodule", "not of the form 'module:function'"),
        ("no.such.module:f", "cannot be imported"),
        ("test.datasets.hooks:absent", "has no .absent."),
    ],
)
def test_a_hook_that_is_not_there_is_told_first(tmp_path, bag, hook, says):
    with pytest.raises(InvalidRequest, match=says):
        export(tmp_path, bag, template=EVERY, hook=hook)
    assert not (tmp_path / "out").exists()


def test_a_hook_that_changes_the_size_is_refused(tmp_path, bag):
    with pytest.raises(VilaError, match=r"must return a uint8 array of shape \(32, 48, 3\)"):
        export(tmp_path, bag, template=EVERY, hook="test.datasets.hooks:shrinks")


# --- the robot's own answers ---------------------------------------------------------------------


def logged_recording(path: Path) -> Path:
    """Two descriptions: of the last two frames, and of a frame that was not recorded."""
    from vila_ros.bags.compressed_image import serialize_compressed_image

    texts = definitions()
    definition = texts[SCENE] + "".join(
        f"{'=' * 80}\nMSG: {name.replace('/msg/', '/')}\n{texts[name]}"
        for name in ("vila_ros/msg/FrameRef", "vila_ros/msg/InferenceStats")
    )
    with BagWriter(path) as writer:
        writer.add_topic("/vila/scene_description", SCENE, definition)
        for index in range(20):
            stamp = START_NS + index * TENTH
            data = serialize_compressed_image(stamp, "front", "jpeg", jpeg(index))
            writer.write(FRONT, "sensor_msgs/msg/CompressedImage", stamp + 7, data)
            if index == 12:
                data = scene_description([stamp - 2 * TENTH, stamp - TENTH], "What?", "A road.")
                writer.write("/vila/scene_description", SCENE, stamp + 9, data)
            if index == 15:
                data = scene_description([stamp + 5], "What?", "A ghost.")
                writer.write("/vila/scene_description", SCENE, stamp + 9, data)
    return path


@pytest.mark.parametrize("slice", [100.0, 1.0])
def test_logged_answers_become_samples_of_the_frames_they_name(tmp_path, slice):
    report = export(tmp_path, logged_recording(tmp_path / "drive"), slice=slice, **WHOLE)
    (row,) = json.loads((tmp_path / "out/train_image.json").read_text())
    assert [Path(name).stem for name in row["image"]] == [
        str(START_NS + index * TENTH) for index in (10, 11)
    ]
    assert row["conversations"] == [
        {"from": "human", "value": "<image>\n<image>\nWhat?"},
        {"from": "gpt", "value": "A road."},
    ]
    (provenance,) = lines(tmp_path / "out/provenance.jsonl")
    assert provenance["source"] == "logged"
    assert (provenance["model"], provenance["topic"]) == ("tiny", "/vila/scene_description")
    assert report.statistics["left_out"] == {"no frame at its time": 1}


def test_a_replay_of_a_recording_is_named_beside_it(tmp_path):
    """`vila replay` writes answers without the pictures they are about."""
    from vila_ros.bags.vila_messages import DescriptionWriter
    from vila_ros.perception.types import Answer, FrameReference

    topics = ("/cam/left", "/cam/right/image_raw")
    recording = write_recording(tmp_path / "drive", cameras=topics)
    name = watched_cameras(open_recording(recording))[0].name  # as the replay calls it
    end = START_NS + 39 * TENTH
    with BagWriter(tmp_path / "replay") as writer:
        described = DescriptionWriter(writer)
        for index in (3, 39):
            frame = FrameReference(name, START_NS + index * TENTH, "camera0")
            answer = Answer(text=f"Number {index}.", frames=(frame,), model="tiny")
            described.write(answer, "Which?", START_NS + index * TENTH + 5)
    assert end < START_NS + 39 * TENTH + 5
    export(tmp_path, recording, tmp_path / "replay", slice=1.0, **WHOLE)
    rows = json.loads((tmp_path / "out/train_image.json").read_text())
    found = {row["conversations"][1]["value"]: row["image"] for row in rows}
    assert set(found) == {"Number 3.", "Number 39."}
    assert (tmp_path / "out" / found["Number 39."]).read_bytes() == jpeg(39)
    with pytest.raises(InvalidRequest, match="hold answers but no picture"):
        export(tmp_path, tmp_path / "replay")


def test_the_definitions_are_those_of_the_interfaces():
    from rosbags.typesys import get_types_from_msg

    own = definitions()
    for name in ("FewShotExample", "FrameRef", "InferenceStats", "SceneDescription"):
        text = (ROOT / "msg" / f"{name}.msg").read_text()
        full = f"vila_ros/msg/{name}"
        assert get_types_from_msg(own[full], full) == get_types_from_msg(text, full)
    for file, first, second in (
        ("srv/Query.srv", "Query_Request", "Query_Response"),
        ("action/Ask.action", "Ask_Goal", "Ask_Result"),
    ):
        parts = re.split(r"(?m)^---$", (ROOT / file).read_text())
        for part, name in zip(parts, (first, second), strict=False):
            full = f"vila_ros/msg/{name}"
            fields = [get_types_from_msg(text, full)[full][1] for text in (own[full], part)]
            assert fields[0] == fields[1]
    assert standard_types().types["service_msgs/msg/ServiceEventInfo"]
