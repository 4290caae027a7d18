# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""docs/walkthrough.md, run as it stands, on a model that is small enough for that."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vila_ros.annotation.store import AnnotationFolder, reviewed
from vila_ros.model.random_checkpoint import SHAPES, write_random_checkpoint

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "walkthrough.md").read_text()
# Sizes that groups of 128 divide, as in every released model.
SMALL = SHAPES["tiny"].__class__(**{**vars(SHAPES["tiny"]), "hidden": 128, "mlp": 256})


def blocks(language):
    """The page's code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def vila(folder, arguments, model):
    """Run one `vila …` line of the page in a shell, as a person does."""
    script = f'vila() {{ "{sys.executable}" -m vila_ros.cli.main "$@"; }}\n{arguments}'
    environment = {
        **os.environ,
        "MODEL": str(model),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    done = subprocess.run(
        ["bash", "-ec", script], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def accept_everything(folder):
    """What a person does in `vila review`, by the store beneath the page."""
    store = AnnotationFolder(folder)
    for name in store.candidates:
        store.decide(name, "accept", 0, reviewer="test")
    return len(store.candidates)


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """The folder after every command up to the score after."""
    pytest.importorskip("pybullet")
    folder = tmp_path_factory.mktemp("walk")
    model = write_random_checkpoint(folder / "model", SMALL)
    for name, text in zip(("questions.yaml", "template.yaml"), blocks("yaml"), strict=True):
        (folder / name).write_text(text)
    for block in blocks("bash"):
        for line in block.replace("\\\n", " ").splitlines():
            if line == "vila review corner_cases":
                assert accept_everything(folder / "corner_cases") > 0
            elif line.startswith("vila "):
                vila(folder, line, model)
    return folder


def scores(folder):
    """Exact answers by model's name."""
    rows = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    models = sorted({row["model"] for row in rows})
    return {
        name: sum(row["detail"]["exact"] for row in rows if row["model"] == name) for name in models
    }


def test_the_page_names_its_files():
    questions, template = map(yaml.safe_load, blocks("yaml"))
    assert questions["questions"][0]["ask"] == template["samples"][0]["question"]


def test_the_robot_learns_its_words(walked):
    before, after = scores(walked / "before"), scores(walked / "after")
    assert before == {"before": 0}
    assert after["tuned"] >= 13  # of 26; the more frequent sentence alone gives 16
    assert after["int4"] >= 13


def test_what_was_reviewed_is_in_the_training_data(walked):
    accepted = {annotation.stamp_ns for annotation in reviewed(walked / "corner_cases")}
    rows = map(json.loads, (walked / "data" / "provenance.jsonl").read_text().splitlines())
    annotated = [row for row in rows if row["source"] == "annotated"]
    assert {row["media"][0]["stamp_ns"] for row in annotated} <= accepted
    assert {"general_perception", "driving_suggestion"} <= {row["rule"] for row in annotated}


@pytest.mark.ros
def test_the_node_answers_with_it(walked):
    pytest.importorskip("rclpy")
    done = subprocess.run(
        [
            sys.executable, "-m", "vila_ros.nodes.demo", "--bag", str(walked / "unseen"),
            "--model", str(walked / "tuned-int4"), "--seconds", "6",
            "--page", str(walked / "demo.html"), "--questions", "Report your motion.",
        ],
        cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "ROS_DOMAIN_ID": str(1 + (os.getpid() * 11) % 100),
             "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Holding position." in done.stdout or "Under way." in done.stdout
