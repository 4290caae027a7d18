# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The parameter files: vila.yaml is the whole list with its defaults, profiles are parts of it."""

import inspect
import json
from pathlib import Path

import pytest
import yaml

from vila_ros.nodes.parameter_fields import build, check_value, parameters_of
from vila_ros.nodes.settings import CameraSettings, Settings, camera_prefix, default_of

CONFIG = Path(__file__).resolve().parents[2] / "config"
PROFILES = sorted((CONFIG / "profiles").glob("*.yaml"))


def flat(tree, prefix=""):
    found = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found.update(flat(value, f"{prefix}{name}."))
        else:
            found[prefix + name] = value
    return found


def parameters_in(path):
    return flat(yaml.safe_load(path.read_text())["/**"]["ros__parameters"])


def defaults():
    found = {each.name: default for each, default in parameters_of(Settings).values()}
    for each, default in parameters_of(CameraSettings).values():
        found[camera_prefix("camera") + each.name] = default_of("camera", each, default)
    return {name: list(v) if isinstance(v, tuple) else v for name, v in found.items()}


def test_vila_yaml_holds_every_parameter_with_its_default_in_order():
    written = parameters_in(CONFIG / "vila.yaml")
    assert written == defaults()
    assert {name: type(value) for name, value in written.items()} == {
        name: type(value) for name, value in defaults().items()
    }


def test_vila_yaml_explains_every_parameter():
    text = " ".join((CONFIG / "vila.yaml").read_text().replace("#", " ").split())
    for each, _ in [*parameters_of(Settings).values(), *parameters_of(CameraSettings).values()]:
        assert " ".join(each.says.split()) in text, each.name


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_profile_sets_known_parameters_to_allowed_values_of_their_type(path):
    known = defaults()
    written = parameters_in(path)
    for name, value in written.items():
        assert type(value) is type(known[name]), name
    settings = build(Settings, {**known, **written, "engine.model": "x"})
    rules = {each.name: each for each, _ in parameters_of(Settings).values()}
    for name, value in written.items():
        check_value(rules[name], value)
    assert settings.engine_spec.options


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_the_runtime_takes_a_profiles_options(path):
    pytest.importorskip("torch")
    from vila_ros.engine.torch_engine import TorchEngine

    options = json.loads(parameters_in(path)["engine.options"])
    inspect.signature(TorchEngine).bind("model", **options)
