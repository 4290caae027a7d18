# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How things are named and questions are put: many wordings of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# The first name is the one that answers use.
NAMES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "car": (("car", "cars"), ("vehicle", "vehicles")),
    "person": (("person", "people"), ("pedestrian", "pedestrians"), ("human", "humans")),
    "cone": (("cone", "cones"), ("traffic cone", "traffic cones")),
    "box": (("box", "boxes"), ("crate", "crates")),
    "sign": (("sign", "signs"), ("traffic sign", "traffic signs")),
    "chair": (("chair", "chairs"),),
    "table": (("table", "tables"),),
    "ball": (("ball", "balls"),),
}
LEFT, AHEAD, RIGHT = "left", "ahead", "right"
SIDES = (LEFT, AHEAD, RIGHT)
NEAR, FAR = "near", "far"

PRESENCE = (
    "Is there {a_thing}?",
    "Is {a_thing} visible?",
    "Is {a_thing} in view?",
    "Can you see {a_thing}?",
    "Do you see {a_thing}?",
    "Does the picture show {a_thing}?",
    "Is there {a_thing} in the image?",
    "Is {a_thing} in the picture?",
    "Is {a_thing} in sight?",
    "Are there any {things}?",
    "Do you see any {things}?",
    "Are any {things} visible?",
)
COLOR_PRESENCE = PRESENCE[:9]
SIDE_PRESENCE: Mapping[str, tuple[str, ...]] = {
    LEFT: ("Is there {a_thing} on the left?", "Is {a_thing} on the left side?",
           "Is {a_thing} to the left?"),
    AHEAD: ("Is there {a_thing} ahead?", "Is {a_thing} ahead?", "Is {a_thing} straight ahead?",
            "Is there {a_thing} in front of the robot?", "Is {a_thing} in the way?"),
    RIGHT: ("Is there {a_thing} on the right?", "Is {a_thing} on the right side?",
            "Is {a_thing} to the right?"),
}  # fmt: skip
COLOR = (
    "What color is the {thing}?",
    "What colour is the {thing}?",
    "What is the color of the {thing}?",
    "Which color does the {thing} have?",
    "Name the color of the {thing}.",
    "The color of the {thing}?",
)
SIDE = (
    "Where is the {thing}?",
    "Where is the {thing}: left, ahead or right?",
    "On which side is the {thing}?",
    "Is the {thing} left, ahead or right?",
    "Where do you see the {thing}?",
    "Which side is the {thing} on?",
)
DISTANCE = (
    "Is the {thing} near or far?",
    "How far away is the {thing}?",
    "How far is the {thing}: near or far?",
    "How close is the {thing}?",
)
COUNT = (
    "How many {things} are there?",
    "How many {things} do you see?",
    "How many {things} are visible?",
    "How many {things} are in the picture?",
    "How many {things} can you see?",
    "Count the {things}.",
    "What is the number of {things}?",
    "How many {things}?",
)
WHAT: Mapping[str, tuple[str, ...]] = {
    LEFT: ("What is on the left?", "What do you see on the left?", "Name what is on the left."),
    AHEAD: ("What is ahead?", "What is straight ahead?", "What is in front of the robot?",
            "What is on the way ahead?"),
    RIGHT: ("What is on the right?", "What do you see on the right?", "Name what is on the right."),
}  # fmt: skip
NEAREST = (
    "What is the nearest object?",
    "Which object is nearest?",
    "What is closest to the robot?",
    "Name the closest thing.",
    "What is the nearest thing?",
)
CAPTION = (
    "Describe the image.",
    "Describe the picture.",
    "Describe the scene.",
    "What do you see?",
    "What is in view?",
    "What does the camera show?",
    "What does the robot see?",
    "Describe what the robot sees.",
    "Describe what the camera sees.",
    "Describe the scene in one sentence.",
    "What is in the picture?",
    "Which objects are there?",
)
PLACE = (
    "Where is the robot?",
    "What kind of place is this?",
    "In what kind of place is the robot?",
    "Where was this picture taken?",
)
PLACE_ANSWERS: Mapping[str, str] = {
    "room": "in a room",
    "road": "on a road",
    "yard": "in the open",
}
INDOORS = ("Is the robot indoors?", "Is this indoors?", "Is the robot in a room?")
ON_ROAD = ("Is the robot on a road?", "Is this a road?", "Is there a road?")
IN_THE_OPEN = ("Is the robot in the open?", "Is this in the open?", "Is this a field?")

# What a thing does over a clip: the answer to how it moves; how it is told; how it is asked.
MOTIONS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "appears": ("it appears", "appears", ("Does the {thing} appear?", "Does {a_thing} appear?",
                "Does {a_thing} come into view?")),
    "leaves": ("it leaves", "leaves", ("Does the {thing} leave?", "Does the {thing} disappear?",
               "Does the {thing} go out of view?")),
    "comes closer": ("it comes closer", "comes closer", ("Does the {thing} come closer?",
                     "Is the {thing} coming closer?", "Does the {thing} approach?",
                     "Is the {thing} approaching?")),
    "moves away": ("it moves away", "moves away", ("Does the {thing} move away?",
                   "Is the {thing} moving away?")),
    "crosses to the right": ("it crosses from left to right", "crosses from left to right",
                             ("Does the {thing} cross from left to right?",
                              "Does the {thing} move from left to right?")),
    "crosses to the left": ("it crosses from right to left", "crosses from right to left",
                            ("Does the {thing} cross from right to left?",
                             "Does the {thing} move from right to left?")),
    "stays": ("it stays where it is", "stays where it is", ("Does the {thing} stay where it is?",
              "Does the {thing} stand still?")),
}  # fmt: skip
MOTION = (
    "How does the {thing} move?",
    "What does the {thing} do?",
    "What is the {thing} doing?",
    "What happens to the {thing}?",
    "How is the {thing} moving?",
    "Describe how the {thing} moves.",
)
APPEARS = ("What appears?", "What comes into view?", "Which object appears?")
LEAVES = ("What leaves?", "What disappears?", "Which object leaves the view?")
AT_FIRST = (
    "Was there {a_thing} at first?",
    "Was there {a_thing} in the first picture?",
    "Was {a_thing} there at the beginning?",
    "Did it begin with {a_thing} in view?",
)
AT_LAST = (
    "Is there {a_thing} at the end?",
    "Is there {a_thing} in the last picture?",
    "Is there {a_thing} now?",
    "Is {a_thing} still in view?",
)
CLIP_CAPTION = (
    "What happens?",
    "What is happening?",
    "Describe what happens.",
    "Describe the video.",
    "Describe the clip.",
    "Describe the scene.",
    "Describe what the camera sees.",
    "Describe what the robot sees.",
    "What happened in the last seconds?",
    "What is going on?",
)
DRIVES = (
    "Is the robot moving?",
    "Does the robot move?",
    "Is the robot driving?",
    "Does the robot drive?",
)
STANDS = (
    "Is the robot standing still?",
    "Does the robot stand still?",
    "Has the robot stopped?",
    "Is the robot stationary?",
)
STEERING = (
    "Which way does the driver steer?",
    "Does the driver steer left or right?",
    "Where is the driver steering?",
    "Which way does the car steer?",
    "Should the car steer left or right?",
)


def article(noun: str) -> str:
    """A noun with its article: a car, an orange car."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def listed(items: Sequence[str]) -> str:
    """Items as a sentence lists them."""
    if len(items) < 2:
        return "".join(items)
    return ", ".join(items[:-1]) + " and " + items[-1]


def sentence(text: str) -> str:
    """Text with a capital and a full stop."""
    return text[:1].upper() + text[1:] + "."
