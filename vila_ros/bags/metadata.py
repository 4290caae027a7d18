# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""metadata.yaml of a rosbag2 folder, of which a reader needs little.

The storage files say most of it themselves and more reliably: a killed recorder writes no metadata
at all, an interrupted copy leaves metadata that promises more than there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vila_ros.bags.quality_of_service import all_transient_local
from vila_ros.bags.types import Topic

FILE_NAME = "metadata.yaml"
LATEST_VERSION = 9
MAX_METADATA_BYTES = 64 << 20


class UnusableMetadata(Exception):
    """Says what is wrong with metadata.yaml; never leaves the package."""


@dataclass(frozen=True, slots=True)
class FileTimes:
    """When a storage file's messages were received; without messages, the times mean nothing."""

    start_ns: int
    end_ns: int
    messages: int


@dataclass(frozen=True, slots=True)
class Metadata:
    """file_names: storage files in order. times: of each file, where metadata has them all."""

    file_names: tuple[str, ...]
    topics: dict[str, Topic]
    times: tuple[FileTimes, ...]


def read_metadata(folder: Path) -> Metadata | None:
    """The folder's metadata, or None where there is none. Raises UnusableMetadata."""
    file = folder / FILE_NAME
    if not file.is_file():
        return None
    try:
        if file.stat().st_size > MAX_METADATA_BYTES:
            raise UnusableMetadata(f"larger than {MAX_METADATA_BYTES} bytes")
        content = yaml.load(file.read_text(), Loader=_LOADER)  # noqa: S506
        bag = content["rosbag2_bagfile_information"]
        if not 1 <= bag["version"] <= LATEST_VERSION:
            raise UnusableMetadata(f"version {bag['version']}, known are 1 to {LATEST_VERSION}")
        return _parse(bag)
    except UnusableMetadata:
        raise
    except yaml.YAMLError as error:
        raise UnusableMetadata("no YAML") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UnusableMetadata(str(error)) from error
    except KeyError as error:
        raise UnusableMetadata(f"it lacks {error}") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise UnusableMetadata("a field is of the wrong type") from error


def _parse(bag: dict[str, Any]) -> Metadata:
    # Before version 4 the paths began with the folder's own name.
    names = tuple(Path(name).name for name in bag["relative_file_paths"])
    topics: dict[str, Topic] = {}
    for entry in bag["topics_with_message_count"] or []:
        topic = entry["topic_metadata"]
        if topic["serialization_format"] == "cdr":
            latched = all_transient_local(topic.get("offered_qos_profiles"))
            topics[topic["name"]] = Topic(topic["type"], int(entry["message_count"]), latched)
    times = []
    for entry in bag.get("files") or []:
        start = int(entry["starting_time"]["nanoseconds_since_epoch"])
        duration = int(entry["duration"]["nanoseconds"])
        times.append(FileTimes(start, start + duration, int(entry["message_count"])))
    return Metadata(names, topics, tuple(times) if len(times) == len(names) else ())


# libyaml's loader reads long metadata some ten times faster; not every PyYAML has it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
