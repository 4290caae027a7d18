# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The perception node: its lifecycle, and how its parts are wired.

configure    builds the buffers and starts the engine's process; the model loads meanwhile
activate     subscribes to the cameras and answers questions; until the model has been loaded
             they end with ENGINE_DOWN, and /diagnostics says how far it is
deactivate   ends the questions on their way with NOT_ACTIVE and unsubscribes; the model stays
             loaded
cleanup      ends the engine's process; other cameras and another engine may be configured now

A transition that fails says why in the log, leaves nothing behind and returns FAILURE.
"""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import rclpy
from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from vila_ros.engine.supervision import EngineState
from vila_ros.engine.supervisor import SupervisedEngine
from vila_ros.errors import EngineFailed, NotActive, VilaError
from vila_ros.nodes.allocation import keep_freed_memory
from vila_ros.nodes.cameras import Cameras
from vila_ros.nodes.descriptions import Descriptions
from vila_ros.nodes.diagnostics import ClockStatus, Diagnostics, NodeStatus
from vila_ros.nodes.parameters import NodeParameters
from vila_ros.nodes.questions import Questions
from vila_ros.nodes.ros_logging import package_log
from vila_ros.nodes.settings import Settings
from vila_ros.perception.buffer import JUMP_NS
from vila_ros.perception.perceiver import Perceiver

NODE_NAME = "vila"

Transition = Callable[["VilaNode", LifecycleState], None]


def transition(work: Transition) -> Callable[[VilaNode, LifecycleState], Any]:
    """Make a lifecycle callback of a function that raises when the transition fails.

    rclpy itself turns exceptions into ERROR without a line in the log.
    """

    @functools.wraps(work)
    def callback(node: VilaNode, state: LifecycleState) -> Any:
        try:
            work(node, state)
        except VilaError as error:
            node.get_logger().error(f"{work.__name__} failed: {error.message}")
        except Exception:  # whatever it was, the log must have it
            node.get_logger().error(f"{work.__name__} failed:\n{traceback.format_exc()}")
        else:
            return TransitionCallbackReturn.SUCCESS
        return TransitionCallbackReturn.FAILURE

    return callback


@dataclass(frozen=True)
class Parts:
    """What exists while the node is configured."""

    cameras: Cameras
    engine: SupervisedEngine
    perceiver: Perceiver


class VilaNode(LifecycleNode):
    """Watches cameras and answers questions about what they saw.

    Raises InvalidRequest when a parameter given at start is bad.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(NODE_NAME, **options)
        self._parts: Parts | None = None
        self._time_jumps = 0
        self._declared = NodeParameters(self, lambda: self._parts is None, self._apply)
        settings = self._declared.settings
        self._questions = Questions(self, settings)
        self._descriptions = Descriptions(self, settings)
        self._diagnostics = Diagnostics(self, self.status, settings.diagnostics_period)
        self._jump_handle = self.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=None, min_backward=Duration(nanoseconds=-JUMP_NS), on_clock_change=True
            ),
            post_callback=self._time_jumped,
        )

    @transition
    def on_configure(self, state: LifecycleState) -> None:
        """Build buffers and Perceiver, start the engine's process."""
        settings = self._declared.settings
        spec = settings.engine_spec
        cameras = Cameras(
            self,
            {name: self._declared.camera(name) for name in settings.camera_names},
            settings.buffer_limits,
        )
        engine = SupervisedEngine(
            spec,
            interpreter=settings.engine_interpreter or None,
            policy=settings.supervision_policy,
        )
        perceiver = Perceiver(cameras.buffers, engine, settings.perceiver_defaults)
        self._parts = Parts(cameras, engine, perceiver)
        try:
            engine.start()
        except Exception:
            self._release()
            raise
        self.get_logger().info(
            f"Configured: cameras {', '.join(settings.camera_names) or 'none'}; engine "
            f"{spec.runtime} with {spec.model}"
        )

    @transition
    def on_activate(self, state: LifecycleState) -> None:
        """Subscribe and answer. Fails when the engine cannot work at all."""
        if self._parts is None:
            raise NotActive("The node is not configured.")
        engine = self._parts.engine.status()
        if engine.state is EngineState.FAILED:
            raise EngineFailed(
                f"The engine does not work: {engine.last_error} Clean up, set engine.* right and "
                "configure again."
            )
        try:
            self._parts.cameras.activate()
            super().on_activate(state)
            self._questions.open(self._parts.perceiver)
            self._descriptions.activate(self._parts.perceiver, self._parts.cameras.buffers)
        except Exception:
            self._rest()
            raise
        ready = engine.state is EngineState.READY
        self.get_logger().info("Active" if ready else "Active; the model is being loaded")

    @transition
    def on_deactivate(self, state: LifecycleState) -> None:
        """End the questions on their way and unsubscribe."""
        self._rest()
        super().on_deactivate(state)

    @transition
    def on_cleanup(self, state: LifecycleState) -> None:
        """End the engine's process."""
        self._release()

    @transition
    def on_shutdown(self, state: LifecycleState) -> None:
        """Stop everything, from any state."""
        self._rest()
        super().on_deactivate(state)
        self._release()

    @transition
    def on_error(self, state: LifecycleState) -> None:
        """Stop everything and go back to unconfigured."""
        self._rest()
        super().on_deactivate(state)
        self._release()

    @property
    def autostart(self) -> bool:
        """Whether it is to be configured and activated at once."""
        return self._declared.settings.autostart

    def status(self) -> NodeStatus:
        """What /diagnostics reports."""
        clock, parts = self.get_clock(), self._parts
        timeout = self._declared.settings.diagnostics_camera_timeout
        return NodeStatus(
            cameras=tuple(parts.cameras.status(timeout)) if parts else (),
            perceiver=parts.perceiver.statistics() if parts else None,
            engine=parts.engine.status() if parts else None,
            description=self._descriptions.status(),
            clock=ClockStatus(
                simulated=clock.ros_time_is_active,
                now_ns=clock.now().nanoseconds,
                jumps=self._time_jumps,
            ),
        )

    def close(self) -> None:
        """Stop everything without a transition, when the process ends."""
        self._rest()
        self._release()
        self._diagnostics.destroy()
        self._questions.destroy()
        self._jump_handle.unregister()
        self.destroy_node()

    def _rest(self) -> None:
        self._questions.close()
        self._descriptions.deactivate()
        if self._parts is not None:
            self._parts.cameras.deactivate()

    def _release(self) -> None:
        parts, self._parts = self._parts, None
        if parts is not None:
            parts.perceiver.close()
            parts.engine.close()

    def _apply(self, settings: Settings) -> None:
        """Put changed parameters in force."""
        self._questions.set_settings(settings)
        self._descriptions.set_settings(settings)
        self._diagnostics.set_period(settings.diagnostics_period)
        if self._parts is not None:
            self._parts.cameras.set_limits(settings.buffer_limits)
            self._parts.perceiver.set_defaults(settings.perceiver_defaults)

    def _time_jumped(self, jump: TimeJump) -> None:
        """Frames from before a jump would be taken for the newest; forget them."""
        self._time_jumps += 1
        if self._parts is not None:
            self._parts.cameras.clear()
        self._descriptions.forget()
        self.get_logger().warning(
            f"ROS time jumped by {jump.delta.nanoseconds / 1e9:.3f} s ({jump.clock_change}); "
            "the frames kept so far were forgotten"
        )


def run(arguments: Sequence[str] | None = None, *, insist: bool = False) -> int:
    """Run the node until it is told to end.

    arguments: the command line without the program's name, or None for this process's own.
    insist: end when parameter autostart is true and the node cannot be configured and activated;
        otherwise it stays, for somebody to mend its parameters.
    Returns the exit status.
    """
    keep_freed_memory()
    try:
        rclpy.init(args=None if arguments is None else [NODE_NAME, *arguments])
    except Exception as error:  # rclpy names many kinds, all of them about the arguments
        print(f"vila_node: ROS 2 refuses these arguments: {error}", file=sys.stderr)
        return 1
    try:
        node = VilaNode()
    except VilaError as error:
        print(f"vila_node: {error.message}", file=sys.stderr)
        rclpy.try_shutdown()
        return 1
    try:
        with package_log(node):
            if node.autostart and not start(node) and insist:
                return 1
            spin(node)
        return 0
    except KeyboardInterrupt:
        return 0
    finally:
        node.close()
        rclpy.try_shutdown()


def start(node: VilaNode) -> bool:
    """Configure and activate; the log says why where it returns False."""
    done = TransitionCallbackReturn.SUCCESS
    return node.trigger_configure() == done and node.trigger_activate() == done


def spin(node: VilaNode) -> None:
    """Serve the node until ROS shuts down.

    One thread is right: no callback blocks, and the cameras have a thread of their own.
    """
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    try:
        while True:
            try:
                executor.spin()
                break
            except ExternalShutdownException:
                break
            except Exception:
                if not node.context.ok():
                    break  # a callback that ran while ROS was shut down
                # What rclpy raises while it takes a message, such as text that is not UTF-8 in a
                # request, must not end the node.
                node.get_logger().error(f"A message was lost:\n{traceback.format_exc()}")
    finally:
        executor.shutdown()


def main() -> int:
    """Entry point of vila_node."""
    return run()


if __name__ == "__main__":
    sys.exit(main())
