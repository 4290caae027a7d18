# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How fast recordings become training pictures, and how much memory that takes.

Of a recording with JPEGs and of one with raw 1280x720 images, in turn and several times over:

    export   vila export, a sample of every frame, with the page, statistics and provenance
    loop     the straightforward loop: rosbags, OpenCV decodes, OpenCV writes, one JSON at the end
    turbo    raw images alone: OpenCV's libjpeg-turbo on as many threads, pictures in memory, files
             thrown away; nothing is read or written
    mcap-to-mp4, ros2-unbag   where they are installed and run

Each runs in a process of its own; times are from after its imports to its end. Peak memory is
compared between a short recording and one that is several times as long. Run from the repository's
root: python benchmarks/export.py. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
WIDTH, HEIGHT = 1280, 720
SLICE = 50.0  # seconds, so that there are tasks for all workers
QUALITY = 95  # what OpenCV's imwrite and vila export take unless told
TOPICS = {"jpeg": "/front/image_raw/compressed", "raw": "/front/image_raw"}
TEMPLATE = """\
samples:
  - {name: look, every: 0, question: "What is ahead?", answer: "The road, after {time:.1f} s."}
"""
TARGET_LOOP, TARGET_TURBO, TARGET_MEMORY = 20.0, 0.9, 1.25


def pictures(count: int) -> list:
    """Frames of the drawn drive, at 1280x720 with a camera's grain, uint8 BGR."""
    import cv2
    import numpy as np

    from vila_ros.bags.synthetic_drive import drive

    chance = np.random.default_rng(0)
    found = []
    for picture, _ in drive(seconds=count / 10):
        large = cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        grain = chance.integers(-4, 5, large.shape, dtype=np.int16)
        found.append(np.clip(large.astype(np.int16) + grain, 0, 255).astype(np.uint8))
    return found


def write_bag(path: Path, kind: str, frames: int, distinct: int = 16) -> None:
    """A recording at 30 frames a second."""
    import struct

    import cv2

    from vila_ros.bags.compressed_image import serialize_compressed_image
    from vila_ros.bags.writer import BagWriter

    shown = pictures(distinct)
    jpegs = [cv2.imencode(".jpg", each)[1].tobytes() for each in shown]
    raws = [cv2.cvtColor(each, cv2.COLOR_BGR2RGB).tobytes() for each in shown]
    with BagWriter(path) as writer:
        for index in range(frames):
            stamp = 1_700_000_000_000_000_000 + index * 33_333_333
            if kind == "jpeg":
                data = serialize_compressed_image(stamp, "front", "jpeg", jpegs[index % distinct])
                writer.write(TOPICS[kind], "sensor_msgs/msg/CompressedImage", stamp, data)
                continue
            seconds, nanoseconds = divmod(stamp, 1_000_000_000)
            head = struct.pack("<4siII8sII", b"\0\1\0\0", seconds, nanoseconds, 6, b"front\0\0\0",
                               HEIGHT, WIDTH)  # fmt: skip
            head += struct.pack("<I5sBxxII", 5, b"rgb8\0", 0, 3 * WIDTH, 3 * WIDTH * HEIGHT)
            writer.write(
                TOPICS[kind], "sensor_msgs/msg/Image", stamp, head + raws[index % distinct]
            )


# --- one way each, in a process of its own ------------------------------------------------------


def run_export_way(bag: Path, out: Path, cores: int) -> int:
    from vila_ros.datasets.export import run_export
    from vila_ros.datasets.plan import ExportOptions
    from vila_ros.datasets.split import SplitRule

    template = out.with_suffix(".yaml")
    template.write_text(TEMPLATE)
    # JPEGs are copied by processes side by side, raw images encoded by threads of one.
    workers, threads = (1, cores) if bag.name == "raw" else (cores, 1)
    # All for training: frames between training and validation would not be written.
    options = ExportOptions(
        (bag,), "vila", template=template, slice=SLICE, threads=threads, split=SplitRule(val=0)
    )
    report = run_export(options, out, workers=workers)
    return report.statistics["pictures"]["files"]


def run_loop_way(bag: Path, out: Path, cores: int) -> int:
    import cv2
    import numpy as np
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    out.mkdir()
    rows = []
    with AnyReader([bag], default_typestore=get_typestore(Stores.ROS2_KILTED)) as reader:
        for connection, _, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            if connection.msgtype.endswith("CompressedImage"):
                picture = cv2.imdecode(message.data, cv2.IMREAD_COLOR)
            else:
                pixels = np.reshape(message.data, (message.height, message.width, 3))
                picture = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
            stamp = message.header.stamp
            name = f"{stamp.sec}{stamp.nanosec:09d}.jpg"
            cv2.imwrite(str(out / name), picture)
            rows.append({"id": name, "image": name, "conversations": []})
    (out / "train.json").write_text(json.dumps(rows))
    return len(rows)


def run_turbo_way(bag: Path, out: Path, cores: int) -> int:
    import cv2

    cv2.setNumThreads(1)
    shown = pictures(16)
    count = int(os.environ["BENCHMARK_FRAMES"])

    def encode(index: int) -> None:
        cv2.imencode(".jpg", shown[index % len(shown)], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])

    global started, before
    started, before = time.perf_counter(), cpu_seconds()  # the pictures are there
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(encode, range(count)))
    return count


def run_tool_way(command: list[str]) -> int:
    # Programs of another environment must not find this one's libraries.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return int(os.environ["BENCHMARK_FRAMES"])


WAYS = {"export": run_export_way, "loop": run_loop_way, "turbo": run_turbo_way}
started = before = 0.0


def child(way: str, bag: Path, out: Path, cores: int) -> None:
    global started, before
    if way == "export":
        import vila_ros.datasets.export
        import vila_ros.datasets.work
        import vila_ros.datasets.writing.vila_json  # noqa: F401
    elif way == "loop":
        import cv2
        import rosbags.highlevel  # noqa: F401

        cv2.setNumThreads(cores)
    started, before = time.perf_counter(), cpu_seconds()
    if way in WAYS:
        frames = WAYS[way](bag, out, cores)
    else:
        frames = run_tool_way(tool_command(way, bag, out))
    seconds, used = time.perf_counter() - started, cpu_seconds() - before
    # getrusage would count the parent's memory before exec as well.
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    figures = {"frames": frames, "seconds": seconds, "cpu": used, "peak_mb": peak}
    print(json.dumps(figures))


def cpu_seconds() -> float:
    """CPU time of this process and the children that have ended, in the kernel too."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def tool_command(way: str, bag: Path, out: Path) -> list[str]:
    """How a peer is called on a recording with JPEGs."""
    if way == "mcap-to-mp4":
        (file,) = bag.glob("*.mcap")
        return ["mcap-to-mp4", str(file), "-t", TOPICS["jpeg"], "-o", str(out.with_suffix(".mp4"))]
    return ["ros2", "unbag", str(bag), "--export", f"{TOPICS['jpeg']}:image/jpeg", "--output-dir",
            str(out)]  # fmt: skip


def measure(way: str, bag: Path, scratch: Path, cores: int, frames: int) -> dict:
    out = scratch / f"out-{way}"
    environment = {**os.environ, "BENCHMARK_FRAMES": str(frames)}
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--child", way, "--bag", str(bag), "--out", str(out),
             "--cores", str(cores)],
            capture_output=True, text=True, env=environment, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{way}: {done.stderr.strip().splitlines()[-1:]}")
        found = json.loads(done.stdout.splitlines()[-1])
    finally:
        shutil.rmtree(out, ignore_errors=True)
    assert found["frames"] == frames, (way, found)
    return {
        **found,
        "rate": frames / found["seconds"],
        "cpu_ms": found["cpu"] / frames * 1e3,
    }


def compare(
    kind: str, ways: list[str], options: argparse.Namespace, scratch: Path
) -> tuple[dict[str, float], dict[str, float]]:
    """Frames a second, and milliseconds of CPU a frame, of each way."""
    frames = options.jpegs if kind == "jpeg" else options.raws
    bag = scratch / kind
    write_bag(bag, kind, frames)
    runs: dict[str, list[dict]] = {way: [] for way in ways}
    for number in range(options.rounds):
        for way in ways if number % 2 == 0 else ways[::-1]:
            found = measure(way, bag, scratch, options.cores, frames)
            runs[way].append(found)
            print(
                f"{kind:4} round {number + 1}, {way:6}: {found['rate']:8.1f} frames a second, "
                f"{found['cpu_ms']:6.3f} ms of CPU a frame",
                flush=True,
            )
    shutil.rmtree(bag)
    return (
        {way: statistics.median(run["rate"] for run in found) for way, found in runs.items()},
        {way: statistics.median(run["cpu_ms"] for run in found) for way, found in runs.items()},
    )


def memory(options: argparse.Namespace, scratch: Path) -> tuple[float, float]:
    """Peak MB of a short and a long recording of JPEGs, several tasks each."""
    peaks = []
    for frames in (options.jpegs, options.jpegs * options.longer):
        bag = scratch / f"long-{frames}"
        write_bag(bag, "jpeg", frames)
        peaks.append(measure("export", bag, scratch, options.cores, frames)["peak_mb"])
        shutil.rmtree(bag)
    return peaks[0], peaks[1]


def peers(options: argparse.Namespace, scratch: Path) -> dict:
    """Rates of other tools on the recording with JPEGs, or why there is none."""
    found: dict[str, float | str] = {}
    bag = scratch / "peers"
    write_bag(bag, "jpeg", options.jpegs)
    for way, program in (("mcap-to-mp4", "mcap-to-mp4"), ("ros2-unbag", "ros2-unbag")):
        if shutil.which(program) is None:
            found[way] = "not installed"
            continue
        try:
            found[way] = round(measure(way, bag, scratch, options.cores, options.jpegs)["rate"], 1)
        except RuntimeError as error:
            found[way] = f"does not run: {error}"
    shutil.rmtree(bag)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jpegs", type=int, default=6000, help="frames of the JPEG recording")
    parser.add_argument("--raws", type=int, default=600, help="frames of the raw recording")
    parser.add_argument("--longer", type=int, default=4, help="times, for the memory")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--scratch", type=Path, help="where recordings and results are written")
    for name in ("--child", "--bag", "--out"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, Path(options.bag), Path(options.out), options.cores)
        return 0
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        scratch = Path(folder)
        jpeg, jpeg_cpu = compare("jpeg", ["export", "loop"], options, scratch)
        raw, raw_cpu = compare("raw", ["export", "turbo", "loop"], options, scratch)
        others = peers(options, scratch)
        short, long = memory(options, scratch)
    figures = {
        "cores": options.cores,
        "jpeg_frames_per_second": {way: round(rate, 1) for way, rate in jpeg.items()},
        "raw_frames_per_second": {way: round(rate, 1) for way, rate in raw.items()},
        "jpeg_cpu_ms_a_frame": {way: round(cost, 3) for way, cost in jpeg_cpu.items()},
        "raw_cpu_ms_a_frame": {way: round(cost, 3) for way, cost in raw_cpu.items()},
        "peers_frames_per_second": others,
        "jpeg_over_loop": round(jpeg["export"] / jpeg["loop"], 2),
        "jpeg_cpu_of_loop_over_export": round(jpeg_cpu["loop"] / jpeg_cpu["export"], 2),
        "raw_cpu_of_turbo_over_export": round(raw_cpu["turbo"] / raw_cpu["export"], 3),
        "raw_over_loop": round(raw["export"] / raw["loop"], 2),
        "raw_over_turbo": round(raw["export"] / raw["turbo"], 3),
        "peak_mb_short": round(short, 1),
        "peak_mb_long": round(long, 1),
        "peak_long_over_short": round(long / short, 3),
    }
    for name, value in figures.items():
        print(f"{name.replace('_', ' ')}: {value}")
    ok = (
        figures["jpeg_over_loop"] >= TARGET_LOOP
        and figures["raw_over_turbo"] >= TARGET_TURBO
        and figures["peak_long_over_short"] <= TARGET_MEMORY
    )
    target = {
        "jpeg_over_loop": f">= {TARGET_LOOP}",
        "raw_over_turbo": f">= {TARGET_TURBO}",
        "peak_long_over_short": f"<= {TARGET_MEMORY}",
    }
    print(json.dumps({"name": "export", "figures": figures, "target": target, "ok": ok}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
