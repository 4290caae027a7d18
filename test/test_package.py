# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The package's manifests agree with each other and with the code."""

import ast
import importlib.util
import re
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import vila_ros
from vila_ros.errors import ErrorCode, VilaError, error_from_code

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()


def tracked_files() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.decode().split("\0") if name]


def test_one_version_everywhere():
    version = MANIFEST.findtext("version")
    assert vila_ros.__version__ == version
    assert re.search(rf"^{re.escape(version)} \(", (ROOT / "CHANGELOG.rst").read_text(), re.M)


def test_every_ros_package_that_is_imported_is_declared():
    declared = {
        element.text
        for element in MANIFEST
        if element.tag in ("depend", "exec_depend", "test_depend")
    }
    known = {
        "rclpy", "launch", "launch_ros", "cv_bridge", "sensor_msgs", "std_msgs", "std_srvs",
        "builtin_interfaces", "diagnostic_msgs", "lifecycle_msgs", "rosgraph_msgs",
        "rcl_interfaces", "nav_msgs", "geometry_msgs", "action_msgs", "ament_index_python",
        "rosidl_runtime_py", "unique_identifier_msgs",
    }  # fmt: skip
    used = set()
    for folder in ("vila_ros", "launch"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    used |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    used.add(node.module.split(".")[0])
    assert used & known <= declared


def test_every_interface_is_generated():
    cmake = (ROOT / "CMakeLists.txt").read_text()
    for folder in ("msg", "srv", "action"):
        for path in (ROOT / folder).iterdir():
            assert f'"{folder}/{path.name}"' in cmake


def constants(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"^uint16 ([A-Z_]+)=(\d+)", text, re.M)}


@pytest.mark.parametrize("interface", ["srv/Query.srv", "action/Ask.action"])
def test_error_codes_are_those_of_the_interfaces(interface):
    assert constants((ROOT / interface).read_text()) == {
        code.name: code.value for code in ErrorCode
    }


def test_service_and_action_have_the_same_fields():
    def sections(name: str) -> list[str]:
        fields = (ROOT / name).read_text().split("\n\n", 1)[1]
        return [section.strip() for section in re.split(r"^---$", fields, flags=re.M)]

    service, action = sections("srv/Query.srv"), sections("action/Ask.action")
    assert len(service) == 2
    assert len(action) == 3
    assert service == action[:2]


def test_every_error_survives_the_way_through_a_code():
    for kind in (kind for kind in VilaError.__subclasses__() if "code" in vars(kind)):
        again = error_from_code(kind.code, "why")
        assert type(again) is kind
        assert again.message == "why"
    assert error_from_code(9999, "why").code is ErrorCode.INTERNAL


def test_every_verb_has_a_module():
    from vila_ros.cli.main import VERBS

    missing = [module for module, _ in VERBS.values() if importlib.util.find_spec(module) is None]
    assert not missing


def test_a_large_file_has_its_reason_in_the_readme_of_its_folder():
    sizes = {path: path.stat().st_size for path in tracked_files() if path.is_file()}
    assert sum(sizes.values()) < 40e6
    for path in (path for path, size in sizes.items() if size > 2**20):
        told = [parent / "README.md" for parent in path.parents if parent.is_relative_to(ROOT)]
        assert any(" MB" in readme.read_text() for readme in told[:-1] if readme.is_file()), path


def test_no_path_of_a_developers_machine():
    pattern = re.compile(rb"(?<![\w.])/(?:home|work|root)/\w")
    hits = [
        str(path.relative_to(ROOT))
        for path in tracked_files()
        if path.is_file() and pattern.search(path.read_bytes())
    ]
    assert not hits
