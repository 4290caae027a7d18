# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints from a hub: pinned, resumable, and only the files a model needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from vila_ros.errors import InvalidCheckpoint

# Configurations, tokenizers and weights; no code, no optimizer states, no demo media.
WANTED = (
    "config.json",
    "llm/*.json",
    "llm/*.model",
    "llm/merges.txt",
    "llm/*.safetensors",
    "llm/pytorch_model*.bin",
    "vision_tower/*.json",
    "vision_tower/*.safetensors",
    "vision_tower/pytorch_model*.bin",
    "mm_projector/*.json",
    "mm_projector/*.safetensors",
    "mm_projector/*.bin",
)


@dataclass(frozen=True)
class Snapshot:
    """A model's files on this machine. commit: what the revision resolved to, 40 hex digits."""

    repository: str
    commit: str
    folder: Path


def is_hub_id(name: str) -> bool:
    """Whether a name has the form owner/name."""
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) is not None


def fetch_snapshot(
    repository: str,
    revision: str | None = None,
    *,
    endpoint: str | None = None,
    cache: Path | None = None,
) -> Snapshot:
    """Fetch a model's files with a progress bar, or find them in the cache.

    revision: a branch, tag or commit; None is the default branch. It is resolved to a commit
    first, and only that commit's files are used. A download that broke off is resumed where it
    stopped. When the hub cannot be reached, what the cache has under the revision is used.
    endpoint: the hub's address; None follows HF_ENDPOINT. cache: None follows HF_HOME.
    Raises InvalidCheckpoint naming the repository and what failed.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    def download(commit: str, offline: bool) -> Path:
        return Path(
            snapshot_download(
                repository,
                revision=commit,
                endpoint=endpoint,
                cache_dir=cache,
                allow_patterns=list(WANTED),
                local_files_only=offline,
            )
        )

    try:
        try:
            commit = str(HfApi(endpoint=endpoint).model_info(repository, revision=revision).sha)
        except HfHubHTTPError:
            raise  # The hub answered: no such model or revision, or no right to read it.
        except Exception as unreachable:
            # Which exceptions mean "no connection" depends on the hub library's HTTP client.
            folder = download(revision or "main", offline=True)
            if not folder.is_dir():
                raise unreachable
            return Snapshot(repository, folder.name, folder)
        return Snapshot(repository, commit, download(commit, offline=False))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        at = f" at revision {revision}" if revision else ""
        raise InvalidCheckpoint(
            f"model {repository}{at} cannot be fetched: {str(error).strip().splitlines()[0]}"
        ) from error
