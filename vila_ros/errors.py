# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The package's errors, each mapped once to the code that leaves through the ROS interfaces.

Every error a user can cause is a VilaError. Its message names the value, the limit and the fix.
"""

from __future__ import annotations

import re
from enum import IntEnum


class ErrorCode(IntEnum):
    """The constants of Ask.action and Query.srv; a test holds them equal."""

    NONE = 0
    INTERNAL = 1
    INVALID_REQUEST = 100
    UNKNOWN_CAMERA = 101
    EMPTY_WINDOW = 102
    TOO_MANY_FRAMES = 103
    PROMPT_TOO_LONG = 104
    INVALID_SCHEMA = 105
    INVALID_IMAGE = 106
    QUEUE_FULL = 200
    DEADLINE_EXCEEDED = 201
    CANCELLED = 202
    NOT_ACTIVE = 203
    ENGINE_DOWN = 300
    ENGINE_FAILED = 301
    OUT_OF_MEMORY = 302
    INVALID_OUTPUT = 303
    UNSUPPORTED = 304
    INVALID_CHECKPOINT = 400


class VilaError(Exception):
    """Base of all errors of this package."""

    code = ErrorCode.INTERNAL

    @property
    def message(self) -> str:
        """The message for the user."""
        return str(self.args[0]) if self.args else type(self).__name__


class InvalidRequest(VilaError):
    """A field is out of range or contradicts another."""

    code = ErrorCode.INVALID_REQUEST


class InvalidRecording(InvalidRequest):
    """A recording that cannot be read, or one that cannot be written."""


class UnusableFolder(InvalidRequest):
    """An output folder of another run, or one that cannot be written."""


class UnknownCamera(VilaError):
    """A camera that the node does not have."""

    code = ErrorCode.UNKNOWN_CAMERA


class EmptyWindow(VilaError):
    """No frame of the cameras asked for lies in the window."""

    code = ErrorCode.EMPTY_WINDOW


class TooManyFrames(VilaError):
    """More images than the model or the engine takes."""

    code = ErrorCode.TOO_MANY_FRAMES


class PromptTooLong(VilaError):
    """Text and images exceed the model's context."""

    code = ErrorCode.PROMPT_TOO_LONG


class InvalidSchema(VilaError):
    """Not a JSON schema, or one that no text can satisfy."""

    code = ErrorCode.INVALID_SCHEMA


class InvalidImage(VilaError):
    """An image that cannot be decoded, or whose fields contradict its data."""

    code = ErrorCode.INVALID_IMAGE


class QueueFull(VilaError):
    """As many questions wait as the queue holds."""

    code = ErrorCode.QUEUE_FULL


class DeadlineExceeded(VilaError):
    """The answer was not complete at its deadline."""

    code = ErrorCode.DEADLINE_EXCEEDED


class Cancelled(VilaError):
    """The question was cancelled."""

    code = ErrorCode.CANCELLED


class NotActive(VilaError):
    """The node is not in lifecycle state active."""

    code = ErrorCode.NOT_ACTIVE


class EngineDown(VilaError):
    """The engine is starting, restarting, or died during the answer."""

    code = ErrorCode.ENGINE_DOWN


class DeviceLost(EngineDown):
    """The engine's device answers nothing in this process any more; only a new process can."""


class EngineFailed(VilaError):
    """The engine reported an error of its own."""

    code = ErrorCode.ENGINE_FAILED


class OutOfMemory(VilaError):
    """The engine ran out of memory; the message says what was asked and what was free."""

    code = ErrorCode.OUT_OF_MEMORY


class InvalidOutput(VilaError):
    """The answer does not satisfy its schema."""

    code = ErrorCode.INVALID_OUTPUT


class Unsupported(VilaError):
    """This runtime or model cannot do what was asked."""

    code = ErrorCode.UNSUPPORTED


class InvalidCheckpoint(VilaError):
    """Model files are missing, truncated or do not fit each other."""

    code = ErrorCode.INVALID_CHECKPOINT


def is_device_lost(error: BaseException) -> bool:
    """Whether a runtime's exception says that CUDA has failed, other than for want of memory.

    After an illegal access, a failed launch or an assertion on the device every later call of the
    process fails too. CUDA's name alone does not tell those from the few that pass; a restart
    mends both. torch's classes are known by name, as this package runs without torch too.
    """
    said = str(error)
    if re.search("out of memory|ALLOC_FAILED", said) or isinstance(error, MemoryError):
        return False
    names = {kind.__name__ for kind in type(error).__mro__}
    if "OutOfMemoryError" in names:
        return False
    return "AcceleratorError" in names or (
        isinstance(error, RuntimeError) and re.search("CUDA (runtime )?error", said) is not None
    )


def device_lost(error: BaseException, doing: str) -> DeviceLost:
    """The error for such an exception, which came while `doing`."""
    said = str(error).partition("\n")[0]
    return DeviceLost(
        f"the device failed while {doing}, and this process cannot use it any more: {said}. A "
        "supervised engine is started again; end any other program and start it again"
    )


def error_from_code(code: int, message: str) -> VilaError:
    """The error of a code that crossed a process boundary; unknown codes become INTERNAL."""
    for kind in VilaError.__subclasses__():
        # Kinds of other modules have no code of their own.
        if "code" in vars(kind) and kind.code == code:
            return kind(message)
    return VilaError(message)
