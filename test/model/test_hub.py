# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fetching a model from a hub on loopback, also over a line that breaks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from test.model.hub_server import COMMIT, HubServer, serve_hub
from vila_ros.errors import InvalidCheckpoint
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.hub import fetch_snapshot, is_hub_id
from vila_ros.model.random_checkpoint import write_random_checkpoint

WEIGHTS = "llm/model.safetensors"
# The hub library writes what arrives in blocks of 10 MiB.
BLOCK = 10 << 20
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    folder = write_random_checkpoint(tmp_path / "served")
    (folder / "modeling_evil.py").write_text("raise SystemExit('ran')")
    (folder / "llm" / "training_args.bin").write_bytes(b"not wanted")
    with serve_hub(folder) as server:
        yield server


def fetch(hub: HubServer, cache: Path, revision: str | None = None):
    return fetch_snapshot("owner/model", revision, endpoint=hub.endpoint, cache=cache)


def test_a_snapshot_is_pinned_and_loads(hub: HubServer, tmp_path: Path):
    snapshot = fetch(hub, tmp_path / "cache", "main")
    assert (snapshot.repository, snapshot.commit) == ("owner/model", COMMIT)
    assert snapshot.folder.name == COMMIT
    assert load_vila(snapshot.folder).conversation.name == "vicuna_v1"


def test_only_what_a_model_needs_is_fetched(hub: HubServer, tmp_path: Path):
    folder = fetch(hub, tmp_path / "cache").folder
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == set(hub.files()) - {"modeling_evil.py", "llm/training_args.bin"}


def test_a_second_call_fetches_nothing(hub: HubServer, tmp_path: Path):
    fetch(hub, tmp_path / "cache")
    hub.gets.clear()
    fetch(hub, tmp_path / "cache")
    assert hub.gets == []


def test_a_broken_download_goes_on_where_it_stopped(hub: HubServer, tmp_path: Path):
    path = hub.folder / WEIGHTS
    path.write_bytes(path.read_bytes() + bytes(2 * BLOCK))
    hub.break_at[WEIGHTS] = BLOCK + 1000
    with pytest.raises(InvalidCheckpoint, match=r"owner/model cannot be fetched.*is kept"):
        fetch(hub, tmp_path / "cache")
    hub.break_at.clear()
    hub.gets.clear()
    folder = fetch(hub, tmp_path / "cache").folder
    assert [first for name, first in hub.gets if name == WEIGHTS] == [BLOCK]
    assert (folder / WEIGHTS).read_bytes() == path.read_bytes()


def test_a_damaged_beginning_is_noticed_and_thrown_away(hub: HubServer, tmp_path: Path):
    folder = fetch(hub, tmp_path / "cache").folder
    blob = (folder / WEIGHTS).resolve()
    whole = blob.read_bytes()
    blob.with_name(f"{blob.name}.partial").write_bytes(b"x" * 1000)
    blob.unlink()
    (folder / WEIGHTS).unlink()
    with pytest.raises(InvalidCheckpoint, match="arrived damaged"):
        fetch(hub, tmp_path / "cache")
    assert (fetch(hub, tmp_path / "cache").folder / WEIGHTS).read_bytes() == whole


def test_without_a_connection_the_cache_is_used(hub: HubServer, tmp_path: Path, caplog):
    fetched = fetch(hub, tmp_path / "cache", "main")
    for revision in ("main", COMMIT, None):
        found = fetch_snapshot("owner/model", revision, endpoint=NOWHERE, cache=tmp_path / "cache")
        assert found == fetched
    assert "cannot be reached" in caplog.text
    with pytest.raises(InvalidCheckpoint, match="owner/model cannot be fetched"):
        fetch_snapshot("owner/model", endpoint=NOWHERE, cache=tmp_path / "empty")


@pytest.mark.parametrize("revision", ["v9", "0" * 40])
def test_an_unknown_revision(hub: HubServer, tmp_path: Path, revision: str):
    with pytest.raises(InvalidCheckpoint, match=f"owner/model at revision {revision} cannot"):
        fetch(hub, tmp_path / "cache", revision)


def test_an_unknown_model(hub: HubServer, tmp_path: Path):
    with pytest.raises(InvalidCheckpoint, match="owner/other cannot be fetched"):
        fetch_snapshot("owner/other", endpoint=hub.endpoint, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("Efficient-Large-Model/VILA1.5-3b", True),
        ("./models/x", False),
        ("/models/x", False),
        ("models", False),
        ("a/b/c", False),
        ("../x", False),
    ],
)
def test_what_is_a_hub_id(name: str, answer: bool):
    assert is_hub_id(name) is answer
