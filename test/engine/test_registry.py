# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest

from test.doubles import EchoEngine
from vila_ros.engine.interface import EngineSpec
from vila_ros.engine.registry import create_engine
from vila_ros.errors import InvalidRequest, Unsupported


def test_a_runtime_of_one_s_own_is_built_with_model_and_options():
    engine = create_engine(EngineSpec("test.doubles:EchoEngine", "m", {"max_images": 3}))
    assert isinstance(engine, EchoEngine)
    assert engine.load().max_images == 3


@pytest.mark.parametrize("runtime", ["tensorflow", "", ":Class", "package.module:"])
def test_an_unknown_name_lists_the_known_ones(runtime):
    with pytest.raises(InvalidRequest, match=f"'{runtime}' is not known. Known are .*'torch'"):
        create_engine(EngineSpec(runtime, "m"))


def test_a_missing_module_is_told_from_a_missing_dependency(tmp_path, monkeypatch):
    (tmp_path / "half_a_runtime.py").write_text("import a_library_that_is_not_here\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InvalidRequest, match="no module 'nowhere'"):
        create_engine(EngineSpec("nowhere.module:Class", "m"))
    with pytest.raises(
        Unsupported, match=r"cannot run in this interpreter.*a_library_that_is_not_here"
    ):
        create_engine(EngineSpec("half_a_runtime:Class", "m"))


def test_a_missing_class_names_module_and_class():
    with pytest.raises(InvalidRequest, match=r"test.doubles has no 'Nothing'"):
        create_engine(EngineSpec("test.doubles:Nothing", "m"))


@pytest.mark.parametrize("name", ["media", "np", "Path"])
def test_what_is_no_engine_is_refused(name):
    with pytest.raises(InvalidRequest, match=r"not an engine: .* load, generate, cancel, close"):
        create_engine(EngineSpec(f"test.doubles:{name}", "m"))


def test_an_engine_that_is_built_already_is_no_runtime(tmp_path, monkeypatch):
    text = "from test.doubles import EchoEngine\nengine = EchoEngine('built')\n"
    (tmp_path / "built_already.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InvalidRequest, match="it must be a class"):
        create_engine(EngineSpec("built_already:engine", "m"))


def test_a_wrong_option_names_it_and_those_there_are():
    with pytest.raises(InvalidRequest, match=r"'colour'.*It takes \(model: 'str', \*, delay"):
        create_engine(EngineSpec("test.doubles:EchoEngine", "m", {"colour": "red"}))


def test_no_runtime_is_imported_before_it_is_asked_for():
    loaded = "import sys, vila_ros.engine.registry; print('torch' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    ).stdout
    assert said == "False\n"
