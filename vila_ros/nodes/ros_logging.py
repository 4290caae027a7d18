# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What the rest of the package logs by Python's logging, in the node's ROS log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rclpy.node import Node


class RosLogHandler(logging.Handler):
    """Hands log records to the node's logger, each level to its own."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        logger = node.get_logger()
        # rclpy keeps filters by the place of the call, so each level has a place of its own.
        self._write = (
            (logging.ERROR, lambda text: logger.error(text)),
            (logging.WARNING, lambda text: logger.warning(text)),
            (logging.INFO, lambda text: logger.info(text)),
            (logging.NOTSET, lambda text: logger.debug(text)),
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            text = self.format(record)
            write = next(write for level, write in self._write if record.levelno >= level)
            write(text)
        except Exception:  # as logging.Handler asks: a log line must not end its caller
            self.handleError(record)


@contextmanager
def package_log(node: Node) -> Iterator[None]:
    """Within it, what the package logs goes to the node's log."""
    log = logging.getLogger("vila_ros")
    handler, level = RosLogHandler(node), log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
