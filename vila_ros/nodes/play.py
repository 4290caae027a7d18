# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""`vila play`: publish a recording over ROS 2, also where `ros2 bag` is absent.

Takes every kind of recording that vila_ros.bags opens: rosbag2, MCAP, image folders, videos,
donkeycar tubs. Headers keep their recorded stamps; a node that should live in the recording's time
runs with use_sim_time and --clock here.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING

from vila_ros.bags.recording import Recording, open_recording
from vila_ros.errors import InvalidRequest

if TYPE_CHECKING:
    from vila_ros.nodes.player import Player, Status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments, named as those of `ros2 bag play`."""
    parser.add_argument(
        "recording",
        help="rosbag2 folder, .mcap, .db3, folder of images, video or donkeycar tub (.tar.gz)",
    )
    parser.add_argument("--rate", type=float, default=1.0, help="speed; 0: as fast as possible")
    parser.add_argument("--loop", action="store_true", help="begin again at the end")
    parser.add_argument("--start", type=float, default=0.0, metavar="S", help="skip S seconds")
    parser.add_argument("--duration", type=float, default=0.0, metavar="S", help="play S seconds")
    parser.add_argument(
        "--clock",
        type=float,
        nargs="?",
        const=100.0,
        default=0.0,
        metavar="HZ",
        help="publish /clock, HZ times a second (100), for nodes with use_sim_time",
    )
    parser.add_argument("--topics", nargs="+", default=[], metavar="T", help="play only these")
    parser.add_argument(
        "--remap",
        nargs="+",
        default=[],
        metavar="OLD:=NEW",
        help="publish topics under other names",
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=0.0,
        metavar="S",
        help="wait up to S seconds for a first subscriber",
    )
    parser.add_argument(
        "--frame-rate",
        type=float,
        default=None,
        metavar="HZ",
        help="images a second for sources without times (tub 20, folder 10)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Play until the end or until interrupted."""
    recording = open_recording(arguments.recording, frame_rate=arguments.frame_rate)
    rename = _renames(arguments.remap)
    # Default transports lose images of more than a few hundred kilobytes; read by Fast DDS when the
    # first node is made. Subscribers need the same setting.
    os.environ.setdefault("FASTDDS_BUILTIN_TRANSPORTS", "LARGE_DATA")
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from vila_ros.nodes.player import Player, PlayOptions

    options = PlayOptions(
        rate=arguments.rate,
        loop=arguments.loop,
        start=arguments.start,
        duration=arguments.duration,
        clock=arguments.clock,
        topics=tuple(arguments.topics),
        rename=rename,
        wait=arguments.wait,
    )
    stop = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("vila_player", enable_rosout=False)
    try:
        player = Player(node, recording, options)
        _introduce(recording, player)
        if options.wait and not player.wait_for_subscriber(stop) and not stop.is_set():
            print(f"No subscriber came in {options.wait:g} s; playing anyway.", flush=True)
        line = _StatusLine()
        count = player.play(stop, line.show)
        line.end()
        print(f"{'Interrupted after' if stop.is_set() else 'Played'} {count} messages.", flush=True)
        return 0
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def _renames(pairs: list[str]) -> dict[str, str]:
    rename = {}
    for pair in pairs:
        old, separator, new = pair.partition(":=")
        if not (old and separator and new):
            raise InvalidRequest(f"--remap {pair}: write OLD:=NEW, for instance /a:=/b.")
        rename[old] = new
    return rename


def _introduce(recording: Recording, player: Player) -> None:
    """Say what is going to be played."""
    length = (player.end_ns - player.start_ns) / 1e9
    print(f"{recording.path}: {length:.1f} s from {player.start_ns / 1e9:.3f}")
    width = max(map(len, recording.topics))
    for name, topic in sorted(recording.topics.items()):
        if name in player.skipped:
            note = f"  skipped: {player.skipped[name]}"
        elif name not in player.topics:
            note = "  not chosen"
        else:
            new = player.topics[name]
            note = f"  as {new}" if new != name else ""
        print(f"  {name:{width}}  {topic.count:7}  {topic.type}{note}")
    sys.stdout.flush()


class _StatusLine:
    """One line that is rewritten; nothing where the output is no terminal."""

    def __init__(self) -> None:
        self._shown = sys.stdout.isatty()

    def show(self, status: Status) -> None:
        """Rewrite the line."""
        if self._shown:
            done = round(24 * status.position / status.length) if status.length else 24
            again = f"  round {status.round + 1}" if status.round else ""
            print(
                f"\r  {'━' * done}{'╌' * (24 - done)}  {status.position:6.1f} of "
                f"{status.length:.1f} s  {status.messages} messages{again}",
                end="",
                flush=True,
            )

    def end(self) -> None:
        """Leave the line."""
        if self._shown:
            print()
