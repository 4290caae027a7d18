# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node's settings as ROS parameters: declared once, checked, refused with a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import rclpy.parameter
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node

from vila_ros.errors import InvalidRequest, VilaError
from vila_ros.nodes.parameter_fields import Changes, Parameter, build, parameters_of
from vila_ros.nodes.settings import CameraSettings, Settings, camera_prefix, default_of


class NodeParameters:
    """Declares the parameters on a node and keeps `settings` at what they say.

    is_unconfigured: whether parameters that are fixed while configured may change now.
    on_change: called with the new settings after a change, in the executor's thread.

    Raises InvalidRequest when a parameter file or the command line gives a bad value.
    """

    def __init__(
        self,
        node: Node,
        is_unconfigured: Callable[[], bool],
        on_change: Callable[[Settings], None],
    ) -> None:
        self._node = node
        self._is_unconfigured = is_unconfigured
        self._on_change = on_change
        self._rules: dict[str, Parameter] = {}
        for each, default in parameters_of(Settings).values():
            self._declare(each, default, "")
        self.settings = build(Settings, self._values())
        self._declare_cameras(self.settings.camera_names)
        node.add_on_set_parameters_callback(self._judge)
        # Humble has no callback for after the change.
        self._has_post_callback = hasattr(node, "add_post_set_parameters_callback")
        if self._has_post_callback:
            node.add_post_set_parameters_callback(self._changed)

    def camera(self, name: str) -> CameraSettings:
        """The settings of a camera that `settings.cameras` names."""
        return build(CameraSettings, self._values(), camera_prefix(name))

    def _declare_cameras(self, names: Iterable[str]) -> None:
        for name in names:
            for each, default in parameters_of(CameraSettings).values():
                if not self._node.has_parameter(camera_prefix(name) + each.name):
                    self._declare(each, default_of(name, each, default), camera_prefix(name))

    def _declare(self, each: Parameter, default: Any, prefix: str) -> None:
        name = prefix + each.name
        value = list(default) if isinstance(default, tuple) else default
        try:
            self._node.declare_parameter(name, value, _descriptor(each, value))
        except InvalidParameterTypeException as error:
            kind = type(value).__name__
            hint = " Correct the parameter file or command line that gives it."
            if kind == "float":
                hint = f" Write {value!r}, with a point, for example."
            raise InvalidRequest(f"Parameter {name} must be a {kind}: {error}.{hint}") from None
        except InvalidParameterValueException as error:
            raise InvalidRequest(f"Parameter {name}: {error}.") from None
        # Known from here on: declaring already calls the callbacks below.
        self._rules[name] = each

    def _values(self) -> dict[str, Any]:
        return {name: self._node.get_parameter(name).value for name in self._rules}

    def _judge(self, changes: list[rclpy.parameter.Parameter]) -> SetParametersResult:
        """Refuse a set of changes as a whole, with the reason of the first that is bad."""
        asked = {each.name: each.value for each in changes if each.name in self._rules}
        if not asked:  # another's, or one that is being declared
            return SetParametersResult(successful=True)
        try:
            values = self._values()
            for name, value in asked.items():
                fixed = self._rules[name].changes is Changes.UNCONFIGURED
                if fixed and not self._is_unconfigured() and not _same(value, values[name]):
                    raise InvalidRequest(
                        f"{name} may change only while the node is unconfigured: deactivate it and "
                        "clean it up first."
                    )
            values.update(asked)
            settings = build(Settings, values)
            # Here, where their first values can still refuse the change. Those of a change that is
            # refused after all do no harm: nothing looks at cameras that are not named.
            self._declare_cameras(settings.camera_names)
            values = {**self._values(), **asked}
            for camera in settings.camera_names:
                build(CameraSettings, values, camera_prefix(camera))
        except VilaError as error:
            return SetParametersResult(successful=False, reason=error.message)
        if not self._has_post_callback and self._node.executor is not None:
            self._node.executor.create_task(self._changed, changes)
        return SetParametersResult(successful=True)

    def _changed(self, changes: list[rclpy.parameter.Parameter]) -> None:
        if not any(each.name in self._rules for each in changes):
            return
        try:
            self.settings = build(Settings, self._values())
            self._on_change(self.settings)
        except VilaError as error:
            self._node.get_logger().error(f"The change of parameters failed: {error.message}")


def _same(one: Any, other: Any) -> bool:
    return _plain(one) == _plain(other)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def _descriptor(each: Parameter, value: Any) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=each.description)
    if each.allowed:
        descriptor.additional_constraints = f"one of {', '.join(each.allowed)}"
    if each.low is not None and each.high is not None:
        if isinstance(value, int):
            descriptor.integer_range = [
                IntegerRange(from_value=int(each.low), to_value=int(each.high), step=0)
            ]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=each.low, to_value=each.high, step=0.0)
            ]
    return descriptor
