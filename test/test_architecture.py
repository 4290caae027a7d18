# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which way imports go, and who may import what."""

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "vila_ros"

# A room may import the rooms of higher numbers and its own, never back.
LAYERS = {
    "nodes": 0, "cli": 0, "web": 0,
    "perception": 1, "memory": 1, "bags": 1, "datasets": 1, "evaluation": 1, "annotation": 1,
    "training": 1, "simulation": 1, "fleet": 1,
    "engine": 2,
    "model": 3, "quantization": 3,
}  # fmt: skip
# What the engine's interface and the errors hold is shared by all.
SHARED = {"vila_ros", "vila_ros.errors", "vila_ros.engine.interface"}
GENERATED = {"msg", "srv", "action"}


def imports_of(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


FILES = sorted(PACKAGE.rglob("*.py"))
IMPORTS = {path: imports_of(path) for path in FILES}


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "vila_ros" else None


def test_imports_never_go_back_up():
    wrong = defaultdict(set)
    for path, names in IMPORTS.items():
        parts = path.relative_to(PACKAGE).parts
        if len(parts) == 1:
            continue
        for name in names:
            target = room_of(name)
            if target in LAYERS and name not in SHARED and LAYERS[target] < LAYERS[parts[0]]:
                wrong[str(path.relative_to(ROOT))].add(name)
    # The engine's interface is what `model` speaks as well; nothing else of a higher room is.
    offending = {
        file: {name for name in names if not name.startswith("vila_ros.engine.interface")}
        for file, names in wrong.items()
    }
    assert not {file: names for file, names in offending.items() if names}


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("rclpy", {"nodes"}),
        ("torch", {"engine", "model", "quantization", "training", "cli"}),
        ("transformers", {"engine", "model", "quantization", "training"}),
    ],
)
def test_library_stays_in_its_rooms(library, allowed):
    users = {
        path.relative_to(PACKAGE).parts[0]
        for path, names in IMPORTS.items()
        if any(name.split(".")[0] == library for name in names)
    }
    assert users <= allowed


def test_tensorrt_llm_appears_in_its_two_runtimes_alone():
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path, names in IMPORTS.items()
        if any(name.split(".")[0] == "tensorrt_llm" for name in names)
    }
    assert users <= {"engine/tensorrt_llm_engine.py", "engine/tensorrt_llm_pytorch.py"}


def test_the_node_process_does_not_load_torch():
    pytest.importorskip("rclpy")
    script = (
        "import sys, vila_ros.nodes.vila_node\n"
        "heavy = {'torch', 'transformers', 'xgrammar'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_files_can_be_read_at_a_sitting():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in FILES
        if (lines := len(path.read_text().splitlines())) > 450
    }
    assert not long
