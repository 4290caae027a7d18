# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""YAML whose values know their line, so that an error can name it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import yaml

from vila_ros.errors import InvalidRequest

MAX_BYTES = 4 << 20
MAX_NODES = 200_000


class Entry:
    """A value of a file: plain JSON value, its line, and its scalar as it was written."""

    def __init__(self, value: Any, line: int, file: str, written: str = "") -> None:
        self.value = value
        self.line = line
        self.file = file
        self.written = written

    @property
    def origin(self) -> str:
        """As "file:line"."""
        return f"{self.file}:{self.line}"

    def fail(self, why: str) -> NoReturn:
        """Raises InvalidRequest that names file and line."""
        raise InvalidRequest(f"{self.origin}: {why}")

    def mapping(self, what: str) -> dict[str, Entry]:
        """Its entries by name."""
        if not isinstance(self.value, dict):
            self.fail(f"{what} must be 'name: value' lines, not {self.shown}")
        return self.value

    def items(self, what: str) -> list[Entry]:
        """Its elements."""
        if not isinstance(self.value, list):
            self.fail(f"{what} must be a list, not {self.shown}")
        return self.value

    def items_or_one(self) -> list[Entry]:
        """Its elements, or itself where it is no list."""
        return self.value if isinstance(self.value, list) else [self]

    def text(self, what: str) -> str:
        """A scalar as it was written, so that yes stays yes."""
        if isinstance(self.value, dict | list) or not self.written.strip():
            self.fail(f"{what} must be a text, not {self.shown}")
        return self.written

    def number(self, what: str, least: float = -1e300, most: float = 1e300) -> float:
        """A number within limits."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fail(f"{what} must be a number, not {self.shown}")
        if not least <= value <= most:
            self.fail(f"{what} is {value:g}; it must be from {least:g} to {most:g}")
        return float(value)

    @property
    def shown(self) -> str:
        """For messages."""
        if isinstance(self.value, dict):
            return "lines of 'name: value'"
        if isinstance(self.value, list):
            return "a list"
        return f"'{self.written[:40]}'" if self.written else "nothing"

    def plain(self) -> Any:
        """The value without lines."""
        if isinstance(self.value, dict):
            return {name: entry.plain() for name, entry in self.value.items()}
        if isinstance(self.value, list):
            return [entry.plain() for entry in self.value]
        return self.value


def read_yaml(path: Path) -> Entry:
    """A file's content. Raises InvalidRequest, naming file and line."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidRequest(f"'{path}' is larger than {MAX_BYTES} bytes.")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidRequest(f"'{path}' cannot be read: {reason}.") from None
    return parse_yaml(text, path.name)


def parse_yaml(text: str, file: str) -> Entry:
    """A text's content; file: its name for messages."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise InvalidRequest(f"{file}:1: the file is empty")
        return _Walk(file).entry(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise InvalidRequest(f"{file}:{line}: no YAML: {error.problem or error}") from None
    except yaml.YAMLError as error:
        raise InvalidRequest(f"{file}:1: no YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise InvalidRequest(f"{file}:1: values are nested too deeply") from None


class _Walk:
    def __init__(self, file: str) -> None:
        self._file = file
        self._count = 0
        self._constructor = yaml.SafeLoader("")

    def entry(self, node: yaml.Node) -> Entry:
        line = node.start_mark.line + 1
        self._count += 1
        if self._count > MAX_NODES:
            raise InvalidRequest(f"{self._file}:{line}: more than {MAX_NODES} values")
        if isinstance(node, yaml.MappingNode):
            return Entry(dict(self._pairs(node)), line, self._file)
        if isinstance(node, yaml.SequenceNode):
            return Entry([self.entry(each) for each in node.value], line, self._file)
        try:
            value = self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise InvalidRequest(f"{self._file}:{line}: {str(error).splitlines()[0]}") from None
        if value is not None and not isinstance(value, str | bool | int | float):
            value = node.value  # dates stay as they were written
        return Entry(value, line, self._file, node.value)

    def _pairs(self, node: yaml.MappingNode) -> Iterator[tuple[str, Entry]]:
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if not name:
                raise InvalidRequest(f"{self._file}:{line}: a name must be a text")
            if name in seen:
                raise InvalidRequest(
                    f"{self._file}:{line}: '{name}' is given twice, first in line {seen[name]}"
                )
            seen[name] = line
            entry = self.entry(value)
            entry.line = line  # of its name, where people look
            yield name, entry
