# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot's files are read back with pyarrow and PyAV, as its own readers do."""

from __future__ import annotations

import json
from itertools import pairwise

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from test.datasets.export_data import (
    FRONT,
    REAR,
    SPEED,
    SPEED_TEMPLATE,
    START_NS,
    TENTH,
    export,
    jpeg,
    lines,
    write_recording,
)
from vila_ros.bags.compressed_image import serialize_compressed_image
from vila_ros.bags.serialization import serialize_float32
from vila_ros.bags.writer import BagWriter
from vila_ros.datasets.plan import LeRobotOptions
from vila_ros.datasets.split import SplitRule
from vila_ros.errors import InvalidRequest, VilaError
from vila_ros.perception.image_files import decode_file

KEY = "observation.images.front"
STATE = LeRobotOptions(state=("speed",), action=("speed", "speed"), task="Drive around the yard.")
WHOLE = SplitRule(val=0)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lerobot")
    recordings = [
        write_recording(folder / name, cameras=(FRONT, REAR), start_ns=START_NS + number * 10**13,
                        seed=number)
        for number, name in enumerate(("one", "two"))
    ]  # fmt: skip
    export(folder, *recordings, template=SPEED_TEMPLATE, format="lerobot", lerobot=STATE,
           split=SplitRule("time", 0.25, 0.3))  # fmt: skip
    return folder / "out"


def episodes(out):
    return pq.read_table(out / "meta/episodes/chunk-000/file-000.parquet").to_pylist()


def data(out, episode):
    path = f"data/chunk-{episode['data/chunk_index']:03d}/file-{episode['data/file_index']:03d}"
    return pq.read_table(out / f"{path}.parquet")


def video(out, episode, key=KEY):
    chunk, file = episode[f"videos/{key}/chunk_index"], episode[f"videos/{key}/file_index"]
    path = out / f"videos/{key}/chunk-{chunk:03d}/file-{file:03d}.mp4"
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [(float(frame.pts * stream.time_base), frame.to_ndarray(format="rgb24"))
                for frame in container.decode(stream)]  # fmt: skip


def test_info_describes_what_is_there(exported):
    info = json.loads((exported / "meta/info.json").read_text())
    found = episodes(exported)
    assert info["codebase_version"] == "v3.0"
    assert info["fps"] == 10
    assert info["total_episodes"] == len(found)
    assert info["total_frames"] == sum(episode["length"] for episode in found)
    assert set(info["features"]) == {
        KEY, "observation.images.rear", "observation.state", "action", "language_events",
        "timestamp", "frame_index", "episode_index", "index", "task_index", "stamp_ns",
    }  # fmt: skip
    assert info["features"][KEY]["shape"] == [32, 48, 3]
    assert info["features"]["observation.state"]["names"] == ["speed"]
    train, val = (info["splits"][name] for name in ("train", "val"))
    assert train.split(":")[1] == val.split(":")[0]
    assert val.split(":")[1] == str(len(found))


def test_episodes_follow_each_other_without_a_gap(exported):
    found = episodes(exported)
    assert [episode["episode_index"] for episode in found] == list(range(len(found)))
    assert found[0]["dataset_from_index"] == 0
    for before, after in pairwise(found):
        assert before["dataset_to_index"] == after["dataset_from_index"]
    for episode in found:
        table = data(exported, episode)
        first, last = episode["dataset_from_index"], episode["dataset_to_index"]
        assert table["index"].to_pylist() == list(range(first, last))
        assert set(table["episode_index"].to_pylist()) == {episode["episode_index"]}


@pytest.mark.parametrize("key", [KEY, "observation.images.rear"])
def test_times_in_the_table_are_those_of_the_videos_frames(exported, key):
    for episode in episodes(exported):
        times = data(exported, episode)["timestamp"].to_numpy()
        shown = np.array([time for time, _ in video(exported, episode, key)])
        begin = episode[f"videos/{key}/from_timestamp"]
        assert len(times) == len(shown) == episode["length"]
        np.testing.assert_array_equal(times, (shown - begin).astype(np.float32))


def test_every_frame_is_the_one_that_its_stamp_names(exported):
    for episode in episodes(exported):
        seed = {"one": 0, "two": 1}[episode["recording"]]
        begin = START_NS + seed * 10**13
        stamps = data(exported, episode)["stamp_ns"].to_pylist()
        for stamp, (_, picture) in zip(stamps, video(exported, episode), strict=True):
            truth = decode_file(jpeg(1000 * seed + (stamp - begin) // TENTH))
            assert np.abs(picture.astype(int) - truth).mean() < 8


def test_state_and_questions_belong_to_their_frames(exported):
    events = 0
    for episode in episodes(exported):
        begin = START_NS + {"one": 0, "two": 1}[episode["recording"]] * 10**13
        for row in data(exported, episode).to_pylist():
            speed = (row["stamp_ns"] - begin) / TENTH / 2
            # A vector of one number is a number there.
            assert row["observation.state"] == pytest.approx(speed)
            assert row["action"] == [pytest.approx(speed)] * 2
            if not row["language_events"]:
                continue
            events += 1
            question, answer, *rear = row["language_events"]
            assert {event["camera"] for event in rear} == {"observation.images.rear"}
            assert (question["role"], question["content"]) == ("user", "How fast?")
            assert (answer["role"], answer["style"], answer["camera"]) == ("assistant", "vqa", KEY)
            assert answer["content"] == f"{'slow' if speed < 10 else 'fast'}, {speed:.1f} m/s"
    assert events > 8


def test_questions_stand_in_a_file_as_well(exported, tmp_path):
    events = [
        (episode["episode_index"], row["frame_index"], event["content"])
        for episode in episodes(exported)
        for row in data(exported, episode).to_pylist()
        for event in row["language_events"]
    ]
    rows = lines(exported / "meta/vqa.jsonl")
    assert [(row["episode_index"], row["frame_index"], row["content"]) for row in rows] == events
    recording = write_recording(tmp_path / "drive")
    without = LeRobotOptions(language=False)
    export(tmp_path, recording, template=SPEED_TEMPLATE, format="lerobot", split=WHOLE,
           lerobot=without)  # fmt: skip
    (episode,) = episodes(tmp_path / "out")
    assert "language_events" not in data(tmp_path / "out", episode).column_names
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    assert "language_events" not in info["features"]
    assert len(lines(tmp_path / "out/meta/vqa.jsonl")) == 16


def test_tasks_have_the_index_that_pandas_reads(exported):
    table = pq.read_table(exported / "meta/tasks.parquet")
    assert table.to_pylist() == [{"task_index": 0, "task": "Drive around the yard."}]
    about = json.loads(table.schema.metadata[b"pandas"])
    assert about["index_columns"] == ["task"]


def test_statistics_are_those_of_all_frames(exported):
    stats = json.loads((exported / "meta/stats.json").read_text())
    speeds = [
        speed
        for episode in episodes(exported)
        for speed in data(exported, episode)["observation.state"].to_pylist()
    ]
    state = stats["observation.state"]
    assert state["count"] == [len(speeds)]
    assert state["mean"][0] == pytest.approx(np.mean(speeds))
    assert state["std"][0] == pytest.approx(np.std(speeds))
    assert (state["min"][0], state["max"][0]) == (min(speeds), max(speeds))
    assert np.shape(stats[KEY]["mean"]) == (3, 1, 1)
    assert 0 < stats[KEY]["mean"][0][0][0] < 1


def frames(path, wanted):
    """A recording of one camera: numbers of its frames at 10 Hz, and their sizes."""
    with BagWriter(path) as writer:
        for index, size in wanted:
            stamp = START_NS + index * TENTH
            message = serialize_compressed_image(stamp, "front", "jpeg", jpeg(index, size))
            writer.write(FRONT, "sensor_msgs/msg/CompressedImage", stamp, message)
    return path


PLAIN = 'samples: [{name: a, question: "b?", answer: c}]'


def test_a_gap_of_a_camera_ends_the_episode(tmp_path):
    wanted = [(index, (48, 32)) for index in (*range(10), *range(40, 52))]
    recording = frames(tmp_path / "drive", wanted)
    export(tmp_path, recording, template=PLAIN, format="lerobot", split=WHOLE)
    # The last frame before the gap stands for half a second, the first after it likewise.
    lengths = [episode["length"] for episode in episodes(tmp_path / "out")]
    assert lengths == [15, 17]


def test_a_camera_that_changes_its_size_is_refused(tmp_path):
    wanted = [(index, (48, 32) if index < 5 else (64, 48)) for index in range(10)]
    recording = frames(tmp_path / "drive", wanted)
    with pytest.raises(VilaError, match="changes from 48x32 to 64x48 pixels"):
        export(tmp_path, recording, template=PLAIN, format="lerobot", split=WHOLE)


def pictures(path, files):
    """A recording of one camera at 10 Hz, of files as they are."""
    with BagWriter(path) as writer:
        for index, data in enumerate(files):
            stamp = START_NS + index * TENTH
            message = serialize_compressed_image(stamp, "front", "jpeg", data)
            writer.write(FRONT, "sensor_msgs/msg/CompressedImage", stamp, message)
    return path


def damaged_png(index):
    """A PNG whole to look at, of whose pixels a part is damaged."""
    data = bytearray(cv2.imencode(".png", decode_file(jpeg(index))[:, :, ::-1])[1])
    data[100] ^= 0xFF
    return bytes(data)


def shown_stamps(out):
    """Of each frame in the video the number of the recorded one that it shows."""
    found = []
    for episode in episodes(out):
        for _, picture in video(out, episode):
            differences = [
                np.abs(picture.astype(int) - decode_file(jpeg(index))).mean() for index in range(10)
            ]
            found.append(int(np.argmin(differences)))
    return found


EVERY_FRAME = 'samples: [{name: a, every: 0, question: "b?", answer: "{time:.1f}"}]'


@pytest.mark.parametrize("cut", [[0], [0, 1], [4], [9], [0, 4]])
def test_frames_that_cannot_be_read_are_left_out_of_the_videos(tmp_path, cut):
    files = [jpeg(index) for index in range(10)]
    for index in cut:
        files[index] = files[index][: len(files[index]) // 2]
    report = export(tmp_path, pictures(tmp_path / "drive", files), template=EVERY_FRAME,
                    format="lerobot", split=WHOLE)  # fmt: skip
    (episode,) = episodes(tmp_path / "out")
    stamps = data(tmp_path / "out", episode)["stamp_ns"].to_pylist()
    numbers = [(stamp - START_NS) // TENTH for stamp in stamps]
    assert shown_stamps(tmp_path / "out") == numbers
    assert not set(numbers) & set(cut)
    assert report.statistics["samples"]["total"] == 10 - len(cut)
    assert report.statistics["left_out"] == {"damaged frame (truncated file)": len(cut)}


@pytest.mark.parametrize(("damaged", "shown"), [([0, 1], [2, 2, 2]), ([2], [0, 1, 1])])
def test_frames_that_only_decoding_finds_damaged_are_held_over(tmp_path, damaged, shown):
    files = [damaged_png(index) if index in damaged else jpeg(index) for index in range(10)]
    report = export(tmp_path, pictures(tmp_path / "drive", files), template=EVERY_FRAME,
                    format="lerobot", split=WHOLE)  # fmt: skip
    assert shown_stamps(tmp_path / "out") == [*shown, *range(3, 10)]
    # What is asked about them would be asked about another picture.
    answers = [row["content"] for row in lines(tmp_path / "out/meta/vqa.jsonl")][1::2]
    assert answers == [f"{index / 10:.1f}" for index in range(10) if index not in damaged]
    assert report.statistics["left_out"] == {"damaged frame (cannot be decoded)": len(damaged)}


def test_a_camera_of_which_nothing_can_be_decoded_is_told(tmp_path):
    recording = pictures(tmp_path / "drive", [damaged_png(index) for index in range(10)])
    with pytest.raises(VilaError, match="no frame of the camera 'front' can be decoded"):
        export(tmp_path, recording, template=PLAIN, format="lerobot", split=WHOLE)


def test_a_state_that_is_not_finite_ends_the_episode(tmp_path):
    recording = tmp_path / "drive"
    with BagWriter(recording) as writer:
        for index in range(20):
            stamp = START_NS + index * TENTH
            message = serialize_compressed_image(stamp, "front", "jpeg", jpeg(index))
            writer.write(FRONT, "sensor_msgs/msg/CompressedImage", stamp, message)
            speed = float("nan") if index == 8 else index / 2
            writer.write(SPEED, "std_msgs/msg/Float32", stamp, serialize_float32(speed))
    export(tmp_path, recording, template=SPEED_TEMPLATE, format="lerobot", split=WHOLE,
           lerobot=STATE)  # fmt: skip
    text = (tmp_path / "out/meta/stats.json").read_text()
    assert "NaN" not in text
    states = [
        state
        for episode in episodes(tmp_path / "out")
        for state in data(tmp_path / "out", episode)["observation.state"].to_pylist()
    ]
    assert states == [index / 2 for index in range(20) if index != 8]


def test_recordings_that_differ_are_refused(tmp_path):
    one = write_recording(tmp_path / "one", frames=8)
    two = write_recording(tmp_path / "two", frames=8, size=(64, 48), start_ns=START_NS + 10**13)
    with pytest.raises(InvalidRequest, match=r"'one' has cameras of sizes .* one for all"):
        export(tmp_path, one, two, template=SPEED_TEMPLATE, format="lerobot", split=WHOLE)


def test_clips_and_unknown_values_are_refused(tmp_path):
    recording = write_recording(tmp_path / "drive", frames=8)
    clip = 'samples: [{name: a, media: video, question: "b?", answer: c}]'
    with pytest.raises(InvalidRequest, match="LeRobot's questions are about one picture"):
        export(tmp_path, recording, template=clip, format="lerobot")
    unknown = LeRobotOptions(state=("brake",))
    with pytest.raises(InvalidRequest, match="'brake' is not among the template's values: speed"):
        export(tmp_path, recording, template=SPEED_TEMPLATE, format="lerobot", lerobot=unknown)
