# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What it costs to keep camera frames: CPU per 1280x720 rgb8 frame in the receiving process.

Five receivers take the same stream (another process, 4 cameras at 30 Hz, best effort), in turn and
several times over, so that all see the same machine:

    node      the whole perception node: keeps every frame, serialized, in the cameras' buffers
    bare      the node's own receiving thread with a callback that throws the bytes away
    executor  raw subscriptions with such a callback in rclpy's executor
    decode    subscriptions that convert every frame to an RGB array (rosbags-image), likewise
    plain     as executor, without the setting of the C library that the node makes
              (vila_ros/nodes/allocation.py) and all others here have: rclpy.spin out of the box

Besides, it compares what was published, received and kept, and watches the bytes that are held.
Run from the repository's root: python benchmarks/ingest.py. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image

from vila_ros.nodes.allocation import keep_freed_memory
from vila_ros.nodes.frame_receiver import FrameReceiver, ReceiverCallbackGroup
from vila_ros.nodes.vila_node import VilaNode, start

ROOT = Path(__file__).resolve().parent.parent
WIDTH, HEIGHT = 1280, 720
HERTZ = 30.0
WARM_UP = 4.0
KINDS = ("node", "bare", "executor", "decode", "plain")
MAX_RATIO = 1.1


def topic(camera: int) -> str:
    return f"/camera{camera}/image_raw"


# --- the publisher's process -----------------------------------------------------------------


def publish(cameras: int) -> None:
    """Publish until stdin ends; then say how many frames of each camera there were."""
    rclpy.init()
    node = rclpy.create_node("publisher", start_parameter_services=False)
    publishers = [
        node.create_publisher(Image, topic(camera), qos_profile_sensor_data)
        for camera in range(cameras)
    ]
    message = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH)
    message.data = bytes(3 * WIDTH * HEIGHT)
    while any(each.get_subscription_count() == 0 for each in publishers):
        time.sleep(0.02)
    time.sleep(0.5)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    counts, begin = [0] * cameras, time.monotonic()
    while not ended.is_set():
        # Cameras are not synchronized; spread over the period, as four drivers would be.
        number, camera = divmod(sum(counts), cameras)
        due = begin + (number + camera / cameras) / HERTZ
        time.sleep(max(0.0, due - time.monotonic()))
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        message.header.stamp.sec, message.header.stamp.nanosec = seconds, nanoseconds
        publishers[camera].publish(serialize_message(message))
        counts[camera] += 1
    print(json.dumps(counts), flush=True)
    time.sleep(0.5)  # for the last frames to leave


# --- the receivers' processes ----------------------------------------------------------------


class Counter:
    """A callback that looks at nothing."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _: object) -> None:
        """Count a message."""
        self.count += 1


class DecodingCounter(Counter):
    """A callback that makes an RGB array of every message."""

    def __init__(self) -> None:
        super().__init__()
        from rosbags.image import message_to_cvimage

        self.decode = message_to_cvimage

    def __call__(self, message: object) -> None:
        """Decode and count a message."""
        self.decode(message, "rgb8")
        self.count += 1


def receive(kind: str, cameras: int, seconds: float, megabytes: int) -> None:
    """Receive, measure for some seconds after a warm-up, print the figures, and count on until
    stdin ends."""
    if kind != "plain":
        keep_freed_memory()
    rclpy.init(args=node_arguments(cameras, megabytes) if kind == "node" else None)
    if kind == "node":
        node = VilaNode()
        assert start(node)
        buffers = node._parts.cameras.buffers.values()  # its own account, unrounded

        def received() -> int:
            return sum(each.statistics().received for each in buffers)
    else:
        node = rclpy.create_node("receiver")
        counter = DecodingCounter() if kind == "decode" else Counter()
        subscribe(node, counter, kind, cameras)

        def received() -> int:
            return counter.count

    executor = SingleThreadedExecutor()
    executor.add_node(node)
    threading.Thread(target=executor.spin, daemon=True).start()
    while received() < cameras:
        time.sleep(0.02)
    time.sleep(WARM_UP)
    figures = measure(received, seconds)
    if kind == "node":
        held = []
        for _ in range(50):
            held += [each.statistics().bytes for each in buffers]
            time.sleep(0.01)
        figures["most_bytes_held"] = max(held)
    print(json.dumps(figures), flush=True)
    sys.stdin.read()
    settle(received)
    total = {"received": received()}
    if kind == "node":
        total["dropped"] = sum(sum(each.statistics().dropped.values()) for each in buffers)
    print(json.dumps(total), flush=True)
    sys.stdout.flush()
    if kind == "node":
        node._rest()
        node._release()
    os._exit(0)


def subscribe(node: rclpy.node.Node, callback: Callable, kind: str, cameras: int) -> None:
    group = ReceiverCallbackGroup() if kind == "bare" else None
    subscriptions = [
        node.create_subscription(
            Image, topic(camera), callback, qos_profile_sensor_data,
            callback_group=group, raw=kind != "decode",
        )
        for camera in range(cameras)
    ]  # fmt: skip
    if kind == "bare":
        FrameReceiver(node, subscriptions).start()


def node_arguments(cameras: int, megabytes: int) -> list[str]:
    names = [f"camera{camera}" for camera in range(cameras)]
    parameters = {
        "engine.runtime": "test.doubles:EchoEngine",
        "engine.model": "echo",
        "cameras": names,
        "buffer.bytes": megabytes << 20,
        **{f"camera.{name}.topic": f"/{name}/image_raw" for name in names},
    }
    arguments = ["vila", "--ros-args", "--log-level", "warn"]
    for name, value in parameters.items():
        arguments += ["-p", f"{name}:={json.dumps(value)}"]
    return arguments


def measure(received: Callable[[], int], seconds: float) -> dict[str, float]:
    before, cpu = received(), cpu_seconds()
    time.sleep(seconds)
    frames, cpu = received() - before, cpu_seconds() - cpu
    return {"frames": frames, "cpu_ms_a_frame": cpu / max(frames, 1) * 1e3}


def cpu_seconds() -> float:
    """CPU time of this process, all its threads, without its children."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def settle(received: Callable[[], int]) -> None:
    """Wait until nothing has come for a second."""
    last, since = received(), time.monotonic()
    while time.monotonic() - since < 1.0:
        time.sleep(0.05)
        if received() != last:
            last, since = received(), time.monotonic()


# --- the comparison --------------------------------------------------------------------------


def run_once(kind: str, options: argparse.Namespace, environment: dict[str, str]) -> dict:
    """One receiver and one publisher; returns the receiver's figures and all counts."""

    def child(*arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, __file__, *arguments], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    numbers = ["--cameras", str(options.cameras), "--megabytes", str(options.megabytes)]
    receiver = child("--receive", kind, "--seconds", str(options.seconds), *numbers)
    publisher = child("--publish", *numbers)
    try:
        figures = json.loads(receiver.stdout.readline())
        publisher.stdin.close()
        figures["published"] = sum(json.loads(publisher.stdout.readline()))
        publisher.wait(30)
        receiver.stdin.close()
        figures.update(json.loads(receiver.stdout.readline()))
        receiver.wait(30)
    finally:
        publisher.kill()
        receiver.kill()
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=8.0, help="measured, of each run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=100, help="buffer of a camera, MiB")
    parser.add_argument("--publish", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--receive", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish:
        publish(options.cameras)
        return 0
    if options.receive:
        receive(options.receive, options.cameras, options.seconds, options.megabytes)
        return 0

    environment = {
        **os.environ,
        "FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA",
        "ROS_DOMAIN_ID": str(os.getpid() % 100 + 1),
    }
    # It would put the default transports back, over which images this large do not arrive.
    environment.pop("ROS_AUTOMATIC_DISCOVERY_RANGE", None)
    runs: dict[str, list[dict]] = {kind: [] for kind in KINDS}
    for number in range(options.rounds):
        order = KINDS if number % 2 == 0 else KINDS[::-1]
        for kind in order:
            figures = run_once(kind, options, environment)
            runs[kind].append(figures)
            print(
                f"round {number + 1}, {kind:8}: {figures['cpu_ms_a_frame']:6.2f} ms CPU a frame, "
                f"{figures['frames'] / options.seconds:6.1f} frames a second; published "
                f"{figures['published']}, received {figures['received']}",
                flush=True,
            )
    return report(runs, options)


def report(runs: dict[str, list[dict]], options: argparse.Namespace) -> int:
    cost = {
        kind: statistics.median(each["cpu_ms_a_frame"] for each in found)
        for kind, found in runs.items()
    }
    node = runs["node"]
    budget, frame = options.megabytes << 20, 3 * WIDTH * HEIGHT
    most_held = max(each["most_bytes_held"] for each in node)
    dropped = sum(each["dropped"] for each in node)
    lost = sum(each["published"] - each["received"] for each in node)
    figures = {
        "cpu_ms_a_frame": {kind: round(value, 3) for kind, value in cost.items()},
        "node_over_bare": round(cost["node"] / cost["bare"], 3),
        "node_over_executor": round(cost["node"] / cost["executor"], 3),
        "node_over_decode": round(cost["node"] / cost["decode"], 3),
        "node_over_plain": round(cost["node"] / cost["plain"], 3),
        "published": sum(each["published"] for each in node),
        "received_by_the_node": sum(each["received"] for each in node),
        "dropped_in_the_node": dropped,
        "lost_before_the_node": lost,
        "most_bytes_held_of_a_camera": most_held,
        "budget_of_a_camera": budget,
    }
    for name, value in figures.items():
        print(f"{name.replace('_', ' ')}: {value}")
    ok = (
        figures["node_over_bare"] <= MAX_RATIO
        and figures["node_over_executor"] <= MAX_RATIO
        and cost["node"] < cost["decode"]
        and dropped == 0
        and most_held <= budget + frame
    )
    target = (
        f"node at most {MAX_RATIO} times bare and executor, below decode; nothing dropped in the "
        "node; bytes held within the budget and one frame"
    )
    print(json.dumps({"name": "ingest", "figures": figures, "target": target, "ok": ok}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
