# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Parity: recompute reference results from raw images and prompts, stage by stage.

Which stages a file can check follows from the arrays in it. Arrays that are not understood, and
stages whose inputs are not there, count as failed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vila_ros.engine.interface import ImagePart, RgbImage, VideoPart
from vila_ros.errors import InvalidRequest, VilaError
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.config import read_json
from vila_ros.model.conversation import TEMPLATES, Turn
from vila_ros.model.golden import (
    EQUAL,
    GIVEN,
    KNOWN_ARRAYS,
    Check,
    FileReport,
    find_checkpoint,
    images_of,
    read_arrays,
    video_encoder,
)
from vila_ros.model.image_processing import PreparedImage
from vila_ros.model.interleave import (
    IMAGE_ID,
    MediaPart,
    MergedBatch,
    PromptLayout,
    merge_batch,
)
from vila_ros.model.tokenizer import IMAGE_MARK, VIDEO_MARK
from vila_ros.model.vila import Vila

TOLERANCE = 1e-4


def check_folder(folder: Path, tolerance: float = TOLERANCE, **options: Any) -> list[FileReport]:
    """Recompute every .npz below a folder; options go to load_vila (token_order, conversation).

    Raises InvalidRequest when there is no golden in the folder, and what load_vila raises.
    """
    files = sorted(folder.glob("*.npz"))
    if not files:
        inner = sorted({path.parent for path in folder.glob("*/*.npz")})
        if not inner:
            raise InvalidRequest(f"{folder} holds no .npz file, nor does any folder in it")
        return [report for part in inner for report in check_folder(part, tolerance, **options)]
    vila = load_vila(find_checkpoint(folder), dtype="float32", **options)
    meta = read_json(folder / "meta.json") if (folder / "meta.json").is_file() else {}
    reports = [GoldenFile(path, vila, meta, tolerance).report() for path in files]
    tokens = tuple(_check_tokens(vila, meta.get("tokens")))
    if tokens:
        reports.append(FileReport(folder / "meta.json", tokens))
    return reports


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a file starts from. images: raw, empty when only pixel_values are given."""

    images: tuple[RgbImage, ...]
    prepared: tuple[PreparedImage, ...]
    tiled: bool


class GoldenFile:
    """One .npz against the model."""

    def __init__(self, path: Path, vila: Vila, meta: Mapping[str, Any], tolerance: float):
        self.path = path
        self.tolerance = tolerance
        self.entry: Mapping[str, Any] = meta.get(path.stem) or {}
        self.arrays = read_arrays(path)
        self.vila = copy.copy(vila)
        encoder = video_encoder(path.stem, self.entry)
        if encoder is not None:
            self.vila.config = replace(vila.config, video_encoder=encoder)

    def report(self) -> FileReport:
        """Run every check that the file's arrays allow."""
        unknown = [name for name in self.arrays if not KNOWN_ARRAYS.fullmatch(name)]
        checks = [Check("file", failure=f"array {name} is not understood") for name in unknown]
        try:
            checks += self._run()
        except VilaError as error:
            checks.append(Check("file", failure=error.message))
        return FileReport(self.path, tuple(checks))

    def _run(self) -> Iterator[Check]:
        inputs = self._inputs()
        yield from self._check_images(inputs)
        if "labels" in self.arrays:
            yield from self._check_batch(inputs)
        elif "input_ids" in self.arrays:
            yield from self._check_prompt(inputs)

    # Images

    def _inputs(self) -> Inputs:
        images = images_of(self.arrays) or self._borrowed_images()
        pixels = self.arrays.get("pixel_values")
        if not images and pixels is not None:
            parts = torch.from_numpy(pixels).split(1)
            return Inputs((), tuple(PreparedImage(part, None) for part in parts), False)
        process = self.vila.image_processor
        tiled = process.tiles_images and self.vila.config.generation == "nvila"
        if pixels is None:
            tiled = tiled and len(images) == 1
        cut = tuple(process(image, True) for image in images) if tiled else ()
        if pixels is not None and tiled:
            tiled = sum(len(image.pixels) for image in cut) == len(pixels)
        return Inputs(images, cut if tiled else tuple(process(image) for image in images), tiled)

    def _borrowed_images(self) -> tuple[RgbImage, ...]:
        """Frames of a file without any: those of the file beside it that is named alike."""
        prompt = str(self.entry.get("prompt", ""))
        if "pixel_values" in self.arrays or not (IMAGE_MARK in prompt or VIDEO_MARK in prompt):
            return ()
        clip = self.path.stem.split("_")[0]
        beside = [path for path in self.path.parent.glob(f"{clip}_*.npz") if path != self.path]
        found = {path: images_of(read_arrays(path)) for path in sorted(beside)}
        found = {path: images for path, images in found.items() if images}
        if len(found) > 1:
            found = {p: images for p, images in found.items() if p.stem.endswith("_as_images")}
        if len(found) != 1:
            raise InvalidRequest(
                f"no images: {self.path.name} has none, and {len(found)} files named {clip}_* do"
            )
        return next(iter(found.values()))

    def _check_images(self, inputs: Inputs) -> Iterator[Check]:
        pixels = self.arrays.get("pixel_values")
        if pixels is not None and inputs.images:
            mine = torch.cat([image.pixels for image in inputs.prepared])
            yield self._compare("preprocessing", mine, pixels)
        elif pixels is not None:
            yield Check("preprocessing", note=GIVEN)
        for name in ("block_size", "block_sizes"):
            if name in self.arrays:
                grids = [image.grid for image in inputs.prepared]
                expected = self.arrays[name].reshape(-1, 2).tolist()
                same = [list(grid or ()) for grid in grids] == expected
                yield _exact("preprocessing", same, f"tiles {grids}, expected {expected}")
        if "vision_features" in self.arrays:
            mine = torch.cat(self.vila.see(inputs.prepared))
            yield self._compare("vision", mine, self.arrays["vision_features"])
        if "projected" in self.arrays:
            mine = torch.cat(self.vila.project(inputs.prepared))
            yield self._compare("projection", mine, self.arrays["projected"])

    # A single prompt

    def _check_prompt(self, inputs: Inputs) -> Iterator[Check]:
        if "query" in self.entry:
            yield self._check_template(str(self.entry["query"]), str(self.entry.get("prompt")))
        if "prompt" not in self.entry:
            yield Check("ids", failure=f"meta.json has no prompt for {self.path.stem}")
            return
        expected = self.arrays["input_ids"].reshape(-1).tolist()
        layout = self._lay_out(str(self.entry["prompt"]), inputs, expected)
        ids = self._ids(layout, inputs)
        place = next((i for i, (a, b) in enumerate(zip(ids, expected, strict=False)) if a != b), -1)
        place = min(len(ids), len(expected)) if place < 0 else place
        yield _exact("ids", ids == expected, f"{len(ids)} ids differ from place {place} on")
        embeddings = self.vila.embed_prompt(layout)
        if "inputs_embeds" in self.arrays:
            yield self._compare("embeddings", embeddings, self.arrays["inputs_embeds"])
        yield from self._check_answer(embeddings)

    def _check_template(self, query: str, prompt: str) -> Check:
        conversation = self.vila.conversation
        if conversation.prompt([Turn("user", query)]) == prompt:
            return Check("template", note=conversation.name)
        config = self.vila.config
        named = config.conversation or config.chat_template
        for name, template in TEMPLATES.items():
            if not named and template.prompt([Turn("user", query)]) == prompt:
                return Check("template", note=name)
        return Check("template", failure=f"template {conversation.name} gives another prompt")

    def _lay_out(self, prompt: str, inputs: Inputs, expected: Sequence[int]) -> PromptLayout:
        """The prompt with its media; where tiles are wanted, in the way the ids show."""
        media: list[MediaPart] = [ImagePart(image) for image in inputs.images]
        if VIDEO_MARK in prompt and IMAGE_MARK not in prompt:
            media = [VideoPart(inputs.images)]
        if not (inputs.tiled and self.vila.config.image_aspect_ratio == "dynamic"):
            return self.vila.lay_out(prompt, media, inputs.tiled)
        # The reference writes one mark and one newline for each tile; in the layout one medium
        # covers them all. meta.json may hold the prompt from before or after that.
        tiles = sum(len(image.pixels) for image in inputs.prepared)
        if prompt.count(IMAGE_MARK) == tiles != len(media):
            for image in inputs.prepared:
                run = f"{IMAGE_MARK}\n" * len(image.pixels)
                prompt = prompt.replace(run, "\0\n", 1)
            prompt = prompt.replace("\0", IMAGE_MARK)
        layout = self.vila.lay_out(prompt, media, True)
        if self._ids(layout, inputs) != list(expected):
            marked = prompt.replace(IMAGE_MARK, f"{IMAGE_MARK}\n")
            with_newlines = self.vila.lay_out(marked, media, True)
            if self._ids(with_newlines, inputs) == list(expected):
                return with_newlines
        return layout

    def _ids(self, layout: PromptLayout, inputs: Inputs) -> list[int]:
        """The reference's ids: one mark for each medium, or for each tile."""
        image_id, video_id = self._media_ids()
        ids = layout.ids(image_id, video_id)
        if not (inputs.tiled and self.vila.config.image_aspect_ratio == "dynamic"):
            return ids
        waiting = iter(inputs.prepared)
        expanded: list[int] = []
        for token in ids:
            more = len(next(waiting).pixels) - 1 if token == image_id else 0
            expanded += [token, *(more * [*self.vila.tile_separator_ids, token])]
        return expanded

    def _media_ids(self) -> tuple[int, int]:
        if self.vila.config.generation == "vila1.5":
            return IMAGE_ID, IMAGE_ID
        convert: Callable[[str], Any] = self.vila.tokenizer.convert_tokens_to_ids
        return int(convert(IMAGE_MARK)), int(convert(VIDEO_MARK))

    @torch.no_grad()
    def _check_answer(self, embeddings: torch.Tensor) -> Iterator[Check]:
        wanted = self.arrays.get("generated_ids")
        count = 0 if wanted is None else wanted.size
        logits, tokens = greedy(self.vila.language_model, embeddings, count)
        for name in ("logits", "logits_tail"):
            if name in self.arrays:
                rows = self.arrays[name].reshape(-1, logits.shape[-1])
                yield self._compare("logits", logits[-len(rows) :], rows)
        if wanted is not None:
            expected = wanted.reshape(-1).tolist()
            stops = [i for i, token in enumerate(expected) if token in self.vila.stop_token_ids]
            end = stops[0] + 1 if stops else len(expected)
            same = tokens[:end] == expected[:end]
            yield _exact("tokens", same, f"answer {tokens[:end]}, expected {expected[:end]}")

    # A batch with labels, as training sees it

    @torch.no_grad()
    def _check_batch(self, inputs: Inputs) -> Iterator[Check]:
        yield Check("ids", note=GIVEN)
        given = {name: torch.from_numpy(array) for name, array in self.arrays.items()}
        media = [self.vila.join_tiles(tiles) for tiles in self.vila.project(inputs.prepared)]
        batch = merge_batch(
            given["input_ids"],
            media,
            self._media_ids(),
            self.vila.embed_tokens,
            attention_mask=given.get("attention_mask"),
            labels=given["labels"],
        )
        for name in ("attention_mask", "position_ids", "labels"):
            if f"merged_{name}" in given:
                same = torch.equal(getattr(batch, name), given[f"merged_{name}"])
                yield _exact("labels", same, f"merged {name} differ")
        if "inputs_embeds" in given:
            yield self._compare("embeddings", batch.embeddings, self.arrays["inputs_embeds"])
        logits = self.vila.language_model(
            inputs_embeds=batch.embeddings,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
        ).logits
        if "logits_last_valid" in given:
            count = given["logits_last_valid"].shape[1]
            rows = [
                row[kept][-count:] for row, kept in zip(logits, batch.attention_mask, strict=True)
            ]
            yield self._compare("logits", torch.stack(rows), self.arrays["logits_last_valid"])
        if "loss" in given:
            yield self._compare("loss", next_token_loss(logits, batch), self.arrays["loss"])

    def _compare(self, stage: str, mine: torch.Tensor, expected: NDArray[Any]) -> Check:
        reference = torch.from_numpy(np.asarray(expected))
        if mine.numel() != reference.numel():
            shapes = f"shape {list(mine.shape)}, expected {list(reference.shape)}"
            return Check(stage, failure=shapes)
        difference = float((mine.reshape(-1) - reference.reshape(-1)).abs().max())
        # Not "difference > tolerance", which a NaN would pass.
        if difference <= self.tolerance:
            return Check(stage, difference)
        return Check(stage, difference, failure=f"differs by {difference:.2e}")


def greedy(
    language_model: Any, embeddings: torch.Tensor, count: int
) -> tuple[torch.Tensor, list[int]]:
    """Logits of a prompt [n, hidden] -> [n, vocabulary], and the count likeliest next tokens."""
    output = language_model(inputs_embeds=embeddings[None], use_cache=True)
    logits, tokens = output.logits[0], []
    for _ in range(count):
        token = output.logits[0, -1].argmax()
        tokens.append(int(token))
        output = language_model(
            input_ids=token.view(1, 1), past_key_values=output.past_key_values, use_cache=True
        )
    return logits, tokens


def next_token_loss(logits: torch.Tensor, batch: MergedBatch) -> torch.Tensor:
    """Mean cross entropy of [B, L, V] logits against the next labels."""
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), batch.labels[:, 1:].flatten()
    )


def _check_tokens(vila: Vila, tokens: Mapping[str, Any] | None) -> Iterator[Check]:
    """What meta.json says of the tokenizer: media ids, stop tokens, the newline."""
    if not tokens:
        return
    convert: Callable[[str], Any] = vila.tokenizer.convert_tokens_to_ids
    mine = {"image": convert(IMAGE_MARK), "video": convert(VIDEO_MARK)}
    if "media_token_ids" in tokens:
        yield _exact("ids", mine == tokens["media_token_ids"], f"media tokens are {mine}")
    if "newline_ids" in tokens:
        newline = list(vila.tokenizer("\n").input_ids)
        yield _exact("ids", newline == tokens["newline_ids"], f"newline is {newline}")
    if "stop_tokens" in tokens:
        stops = set(tokens["stop_tokens"]) <= set(vila.stop_strings)
        yield _exact("template", stops, f"stop strings are {vila.stop_strings}")


def _exact(stage: str, same: bool, otherwise: str) -> Check:
    return Check(stage, note=EQUAL) if same else Check(stage, failure=otherwise)
