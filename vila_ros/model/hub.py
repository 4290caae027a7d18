# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints from a hub: pinned, resumable, and only the files a model needs.

Files land in the ordinary Hugging Face cache, shared with other programs.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from vila_ros.errors import InvalidCheckpoint

logger = logging.getLogger(__name__)

# Configurations, tokenizers and weights; no code, no optimizer states, no demo media.
WANTED = (
    "config.json",
    "llm/*.json",
    "llm/*.model",
    "llm/merges.txt",
    "llm/*.safetensors",
    "llm/pytorch_model*.bin",
    "llm/*-v2.pt",  # int4 of TinyChat
    "vision_tower/*.json",
    "vision_tower/*.safetensors",
    "vision_tower/pytorch_model*.bin",
    "mm_projector/*.json",
    "mm_projector/*.safetensors",
    "mm_projector/*.bin",
)
WEIGHTS = (".safetensors", ".bin", ".pt")


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
    """Fetch a model's files with progress bars, or find them in the cache.

    revision: a branch, tag or commit; None is the default branch. It is resolved to a commit
    first, and only that commit's files are used. A weight file that broke off is resumed where it
    stopped, also by a later call. When the hub cannot be reached, what the cache has is used.
    endpoint: the hub's address; None follows HF_ENDPOINT. cache: None follows HF_HOME.
    Raises InvalidCheckpoint naming the repository and what failed.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # The library's HTTP client changes between its versions, and so do the exceptions of a broken
    # connection; hence the wide nets below, each of which ends in one error of this package.
    try:
        info = HfApi(endpoint=endpoint).model_info(repository, revision=revision)
    except (HfHubHTTPError, HFValidationError) as error:
        raise InvalidCheckpoint(_failure(repository, revision, error)) from error
    except Exception as error:
        logger.warning("the hub cannot be reached (%s); looking for %s offline", error, repository)
        commit, names = revision or "main", None
    else:
        commit = str(info.sha)
        names = [str(sibling.rfilename) for sibling in info.siblings or ()]
    try:
        if names is not None:
            _fetch_weights(repository, commit, names, endpoint, cache)
        folder = _snapshot(repository, commit, endpoint, cache, offline=names is None)
        if names is not None and revision != commit:
            _remember(folder.parent.parent / "refs" / (revision or "main"), commit)
    except Exception as error:
        raise InvalidCheckpoint(
            f"{_failure(repository, revision, error)}; what has arrived is kept, run it again"
        ) from error
    return Snapshot(repository, folder.name, folder)


def _snapshot(
    repository: str, commit: str, endpoint: str | None, cache: Path | None, offline: bool
) -> Path:
    """The snapshot's folder, which is named after the commit; fetches what is not there yet."""
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        repository,
        revision=commit,
        endpoint=endpoint,
        cache_dir=cache,
        allow_patterns=list(WANTED),
        local_files_only=offline,
    )
    return Path(folder)


def _remember(reference: Path, commit: str) -> None:
    """Note in the cache what a branch or tag stood for, for a later call without a connection."""
    reference.parent.mkdir(parents=True, exist_ok=True)
    fresh = reference.with_name(f"{reference.name}.{os.getpid()}")
    fresh.write_text(commit)
    fresh.replace(reference)


def _fetch_weights(
    repository: str, commit: str, names: Sequence[str], endpoint: str | None, cache: Path | None
) -> None:
    """Put weight files into the cache as blobs, where the snapshot then finds them.

    The library throws away what a failed call has fetched of a file; for gigabytes over a robot's
    radio link that is not good enough.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.file_download import repo_folder_name

    root = Path(cache or constants.HF_HUB_CACHE)
    blobs = root / repo_folder_name(repo_id=repository, repo_type="model") / "blobs"
    for name in names:
        wanted = name.endswith(WEIGHTS) and any(fnmatch(name, pattern) for pattern in WANTED)
        if not wanted or isinstance(
            try_to_load_from_cache(repository, name, cache_dir=cache, revision=commit), str
        ):
            continue
        url = hf_hub_url(repository, name, revision=commit, endpoint=endpoint)
        found = get_hf_file_metadata(url, endpoint=endpoint)
        if found.etag and found.size is not None and re.fullmatch(r"\w+", found.etag):
            _fetch_blob(url, blobs / found.etag, found.size)


def _fetch_blob(url: str, blob: Path, size: int) -> None:
    """Fetch a file whole, going on with what an earlier call left of it.

    blob: where it belongs; its name is the file's SHA-256 on hubs, which is then checked.
    """
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    if blob.exists():
        return
    blob.parent.mkdir(parents=True, exist_ok=True)
    partial = blob.with_name(f"{blob.name}.partial")
    with partial.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # Another process may fetch the same model.
        if blob.exists():
            return
        if file.tell() > size:
            file.truncate(0)
        have = file.seek(0, os.SEEK_END)
        http_get(url, file, resume_size=have, headers=build_hf_headers(), expected_size=size)
        file.flush()
        os.fsync(file.fileno())
        if len(blob.name) == 64 and _sha256(partial) != blob.name:
            partial.unlink()
            raise InvalidCheckpoint(f"{url} arrived damaged and was removed")
        partial.replace(blob)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _failure(repository: str, revision: str | None, error: Exception) -> str:
    at = f" at revision {revision}" if revision else ""
    return f"model {repository}{at} cannot be fetched: {' '.join(str(error).split())[:300]}"
