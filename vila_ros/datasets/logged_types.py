# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""This package's message types as text, for recordings read where ROS is not installed.

A test holds them equal to msg/, srv/ and action/.
"""

from __future__ import annotations

from vila_ros.bags.vila_messages import (
    FRAME_REF_DEFINITION,
    INFERENCE_STATS_DEFINITION,
    SCENE_DESCRIPTION,
    SCENE_DESCRIPTION_DEFINITION,
)

_QUESTION = """\
string prompt
string system_prompt
string[] cameras
float32 window
builtin_interfaces/Time start
builtin_interfaces/Time end
uint32 max_frames
uint8 sampling
sensor_msgs/CompressedImage[] images
vila_ros/FewShotExample[] examples
string json_schema
string[] choices
uint32 max_tokens
float32 temperature
uint64 seed
float32 deadline
int8 priority
"""
_ANSWER = """\
uint16 error_code
string error_message
string text
string json
float32[] choice_probabilities
vila_ros/FrameRef[] frames
builtin_interfaces/Time window_start
builtin_interfaces/Time window_end
vila_ros/InferenceStats stats
"""
_EVENT = (
    "service_msgs/ServiceEventInfo info\n{0}_Request[<=1] request\n{0}_Response[<=1] response\n"
)

_MESSAGES = {
    "vila_ros/msg/FewShotExample": """\
sensor_msgs/CompressedImage[] images
string question
string answer
""",
    "vila_ros/msg/FrameRef": FRAME_REF_DEFINITION,
    "vila_ros/msg/InferenceStats": INFERENCE_STATS_DEFINITION,
    SCENE_DESCRIPTION: SCENE_DESCRIPTION_DEFINITION,
}


def definitions() -> dict[str, str]:
    """Message definitions by type name, those that rosidl derives from services and actions too.

    The derived parts are named as messages, as a message definition cannot name them otherwise.
    """
    goal, result = "vila_ros/Ask_SendGoal", "vila_ros/Ask_GetResult"
    return {
        **_MESSAGES,
        "vila_ros/msg/Query_Request": _QUESTION,
        "vila_ros/msg/Query_Response": _ANSWER,
        "vila_ros/srv/Query_Event": _EVENT.format("vila_ros/Query"),
        "vila_ros/msg/Ask_Goal": _QUESTION,
        "vila_ros/msg/Ask_Result": _ANSWER,
        "vila_ros/msg/Ask_SendGoal_Request": (
            "unique_identifier_msgs/UUID goal_id\nvila_ros/Ask_Goal goal\n"
        ),
        "vila_ros/msg/Ask_SendGoal_Response": "bool accepted\nbuiltin_interfaces/Time stamp\n",
        "vila_ros/action/Ask_SendGoal_Event": _EVENT.format(goal),
        "vila_ros/msg/Ask_GetResult_Request": "unique_identifier_msgs/UUID goal_id\n",
        "vila_ros/msg/Ask_GetResult_Response": "int8 status\nvila_ros/Ask_Result result\n",
        "vila_ros/action/Ask_GetResult_Event": _EVENT.format(result),
    }
