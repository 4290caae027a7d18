# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rendered scenes show what their truth says."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pybullet")

from vila_ros.errors import InvalidRequest
from vila_ros.simulation.drive import drive
from vila_ros.simulation.renderer import Renderer, cell_owners
from vila_ros.simulation.scene import PLACES, Camera, Surroundings, Thing
from vila_ros.simulation.scenes import HELD_OUT, clip_scene, still_scene
from vila_ros.simulation.shapes import COLORS, KINDS, shade


@pytest.fixture(scope="module")
def renderer():
    with Renderer(160, 120) as renderer:
        yield renderer


def thing(kind="box", color="red", x=0.0, y=4.0, number=0):
    return Thing(number, kind, color, shade(color, np.random.default_rng(0)), x, y)


PLAIN = Camera(noise=0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_thing_shows_in_its_color_where_it_stands(renderer, kind):
    picture, truth = renderer.draw(Surroundings("yard", 1), PLAIN, [thing(kind, "red", x=-1.2)])
    (seen,) = truth.things
    assert seen.visible > 0.6
    assert seen.column < 0.4
    left, right = np.hsplit(picture.astype(int), 2)

    def red(part):
        return ((part[..., 0] > 90) & (part[..., 0] > 2 * part[..., 1:].max(-1))).sum()

    assert red(left) > 20
    assert red(right) == 0


def test_what_stands_behind_another_thing_is_hidden(renderer):
    things = [thing(number=0, y=3.0), thing("ball", "blue", number=1, y=6.0)]
    low = Camera(height=0.5, noise=0.0)
    _, truth = renderer.draw(Surroundings("road", 2), low, things)
    assert [seen.number for seen in truth.things] == [0, 1]
    assert truth.things[0].visible > 0.9
    assert truth.things[1].visible < 0.1


def test_what_is_behind_or_beside_the_camera_is_not_seen(renderer):
    things = [thing(number=0, y=-3.0), thing(number=1, x=9.0)]
    _, truth = renderer.draw(Surroundings("room", 3), PLAIN, things)
    assert [seen.visible for seen in truth.things] == [0.0, 0.0]


def test_the_same_scene_is_drawn_the_same_again_and_by_another_renderer(renderer):
    scene = still_scene(5)
    view = scene.views[0]
    first, truth = renderer.draw(scene.surroundings, view.camera, view.things, seed=1)
    other_scene = clip_scene(6)
    renderer.draw(
        other_scene.surroundings, other_scene.views[0].camera, other_scene.views[0].things
    )
    again, same = renderer.draw(scene.surroundings, view.camera, view.things, seed=1)
    assert np.array_equal(first, again)
    assert truth == same
    with Renderer(160, 120) as another:
        fresh, _ = another.draw(scene.surroundings, view.camera, view.things, seed=1)
    assert np.array_equal(first, fresh)


@pytest.mark.parametrize("place", PLACES)
def test_every_place_is_drawn_with_light_and_texture(renderer, place):
    picture, _ = renderer.draw(Surroundings(place, 4), PLAIN, [])
    assert 40 < picture.mean() < 220
    assert picture[90:].std() > 3


def test_training_scenes_never_show_a_held_out_color():
    scenes = [still_scene(seed) for seed in range(60)] + [clip_scene(seed) for seed in range(40)]
    shown = {(each.kind, each.color) for scene in scenes for each in scene.views[0].things}
    assert not shown & set(HELD_OUT.items())
    assert {kind for kind, _ in shown} == set(KINDS)
    assert {color for _, color in shown} == set(COLORS)


def test_held_out_scenes_show_them():
    shown = [each for seed in range(40) for each in still_scene(seed, True).views[0].things]
    rare = [each for each in shown if HELD_OUT[each.kind] == each.color]
    assert 0.3 < len(rare) / len(shown) < 0.7


def test_the_grid_of_tokens_names_what_covers_each_cell(renderer):
    things = [thing(number=7, x=-0.8, y=3.0)]
    owners, middles = cell_owners(things, PLAIN, 4 / 3)
    rows, columns = np.nonzero(owners == 7)
    assert len(rows) >= 2
    assert columns.max() < 4
    assert middles.sum() == 1
    assert owners[middles] == 7


@pytest.mark.parametrize(
    ("given", "named"), [({"seconds": 0}, "seconds is 0"), ({"rate": 0}, "rate is 0")]
)
def test_a_drive_says_which_number_is_out_of_range(given, named):
    with pytest.raises(InvalidRequest, match=named):
        next(drive(**given))
