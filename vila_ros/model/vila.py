# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""VILA: vision tower -> projector -> interleave -> language model (arXiv:2312.07533, figure 2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from vila_ros.engine.interface import ImagePart, Message, RgbImage, VideoPart
from vila_ros.errors import InvalidRequest
from vila_ros.model.config import VilaConfig
from vila_ros.model.conversation import Conversation, Turn
from vila_ros.model.image_processing import ImageProcessor, PreparedImage
from vila_ros.model.interleave import (
    MarkStyle,
    MediaPart,
    MediaSegment,
    PromptLayout,
    TextSegment,
    lay_out_chunks,
    lay_out_tokens,
    mark_media,
)
from vila_ros.model.multiscale import (
    merge_scales,
    merge_tiles,
    repeat_scales,
    split_tiles,
    to_maps,
    to_tokens,
)
from vila_ros.model.projector import Projector
from vila_ros.model.tokenizer import IMAGE_MARK
from vila_ros.model.video import check_pool, clip_rows, encode_clip, frame_rows
from vila_ros.model.vision_tower import VisionTower

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Images (or tiles) that go through the vision tower together.
TOWER_BATCH = 16


class Vila:
    """A loaded model, for inference; made by vila_ros.model.checkpoint.load_vila.

    Embeddings it returns are [n, hidden] on its device in its dtype, ready to stand between
    embedded text. Methods may be called from one thread at a time.
    """

    def __init__(
        self,
        config: VilaConfig,
        tokenizer: PreTrainedTokenizerBase,
        conversation: Conversation,
        image_processor: ImageProcessor,
        vision_tower: VisionTower,
        projector: Projector,
        language_model: Any,
        device: torch.device,
        dtype: torch.dtype,
    ):
        self.config = config
        self.tokenizer = tokenizer
        self.conversation = conversation
        self.image_processor = image_processor
        self.vision_tower = vision_tower
        self.projector = projector
        self.language_model = language_model
        self.device = device
        self.dtype = dtype
        for pool_size in config.video_encoder.pool_sizes:
            check_pool(projector.grid(config.grid), pool_size)

    # Images

    def encode_images(self, images: Sequence[RgbImage], tiled: bool = False) -> list[torch.Tensor]:
        """Images -> the rows of each, framing text (NVILA's newline) included.

        tiled: as the image's MediaSegment says. Raises InvalidImage.
        """
        prepared = [self.image_processor(image, tiled) for image in images]
        return [self.join_tiles(tiles) for tiles in self.project(prepared)]

    @torch.no_grad()
    def see(self, prepared: Sequence[PreparedImage]) -> list[torch.Tensor]:
        """Prepared images -> the tower's features of each, [tiles, N, C]."""
        if not prepared:
            return []
        pixels = torch.cat([image.pixels for image in prepared])
        kind = self.vision_tower.dtype or self.dtype
        features = [
            self.vision_tower(batch.to(self.device, kind)).to(self.dtype)
            for batch in pixels.split(TOWER_BATCH)
        ]
        return list(torch.cat(features).split([len(image.pixels) for image in prepared]))

    @torch.no_grad()
    def project(self, prepared: Sequence[PreparedImage]) -> list[torch.Tensor]:
        """Prepared images -> projected tokens of each, [tiles, n, hidden].

        With dynamic S2 the tiles of an image become one, [1, n, hidden].
        """
        seen = self.see(prepared)
        scales = self.config.scales
        if scales is None or not scales.dynamic:
            projected = self.projector(torch.cat(seen)) if seen else torch.empty(0)
            return list(projected.split([len(features) for features in seen]))
        return [
            self.projector(repeat_scales(features, scales))
            if image.grid is None
            else self._project_scales(features, image.grid)
            for features, image in zip(seen, prepared, strict=True)
        ]

    def _project_scales(self, features: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """Dynamic S2: scales are merged, cut to the tower's size again, projected, and merged."""
        assert self.config.scales is not None
        merged, (rows, columns) = merge_scales(features, grid, self.config.scales)
        projected = self.projector(to_tokens(split_tiles(merged, rows, columns)))
        return to_tokens(merge_tiles(to_maps(projected), rows, columns))

    def join_tiles(self, tiles: torch.Tensor) -> torch.Tensor:
        """[tiles, n, hidden] -> rows; between tiles stands the text between their marks."""
        encoder = self.config.image_encoder
        start, end = self._embed_text(encoder.start_tokens), self._embed_text(encoder.end_tokens)
        framed = [frame_rows(tile, start, end) for tile in tiles]
        if len(framed) == 1:
            return framed[0]
        between = self.embed_tokens(torch.tensor(self.tile_separator_ids))
        return torch.cat([part for tile in framed for part in (tile, between)][:-1])

    def image_tokens(self, height: int, width: int, tiled: bool = False) -> int:
        """How many rows encode_images gives for an image of that size, pixels."""
        grid = self.image_processor.grid(height, width, tiled)
        encoder = self.config.image_encoder
        frame = self._text_length(encoder.start_tokens) + self._text_length(encoder.end_tokens)
        if grid is None:
            return self.tile_tokens + frame
        rows, columns = grid
        scales = self.config.scales
        if scales is not None and scales.dynamic:
            if scales.output < len(scales.sizes) - 1:
                rows = columns = scales.sizes[scales.output] // scales.sizes[0]
            return rows * columns * self.tile_tokens + frame
        tiles = rows * columns + int(rows * columns > 1)
        return tiles * (self.tile_tokens + frame) + (tiles - 1) * len(self.tile_separator_ids)

    # Clips

    def encode_video(self, frames: Sequence[RgbImage]) -> torch.Tensor:
        """A clip's frames -> its rows, by the model's video encoder. Frames are never tiled."""
        if not frames:
            raise InvalidRequest("a clip needs at least one frame")
        tokens = torch.cat(self.project([self.image_processor(frame) for frame in frames]))
        encoder = self.config.video_encoder
        return encode_clip(
            tokens,
            encoder.pool_sizes,
            self._embed_text(encoder.start_tokens),
            self._embed_text(encoder.end_tokens),
            self._embed_text(encoder.sep_tokens),
        )

    def video_tokens(self, frames: Sequence[tuple[int, int]]) -> int:
        """How many rows encode_video gives for frames of those (height, width)."""
        encoder = self.config.video_encoder
        frame = self._text_length(encoder.start_tokens) + self._text_length(encoder.end_tokens)
        separator = self._text_length(encoder.sep_tokens)
        return clip_rows(len(frames), self.tile_tokens, encoder.pool_sizes, frame, separator)

    # Prompts

    def render(self, messages: Sequence[Message]) -> PromptLayout:
        """The conversation as the model reads it.

        Raises InvalidRequest unless messages are an optional system message, then user and
        assistant alternating.
        """
        turns, media, tiled = self.mark(messages)
        return self.lay_out(self.conversation.prompt(turns), media, tiled)

    def mark(
        self, messages: Sequence[Message]
    ) -> tuple[tuple[Turn, ...], tuple[MediaPart, ...], bool]:
        """Messages as turns with marks, their media in order, and whether these are tiled."""
        given = [part for message in messages for part in message.parts]
        media = [part for part in given if isinstance(part, ImagePart | VideoPart)]
        # The reference tiles an image only where it is the only medium (generate_content in
        # llava/model/llava_arch.py): many tiles of many frames would fill the context.
        tiled = len(media) == 1 and isinstance(media[0], ImagePart) and self._tiles_images
        return (*mark_media(messages, self._mark_style(tiled)), tiled)

    def lay_out(self, prompt: str, media: Sequence[MediaPart], tiled: bool = False) -> PromptLayout:
        """A prompt that is templated already, with a mark for each medium.

        Raises InvalidRequest when marks and media differ in number.
        """
        if self.config.generation == "nvila":
            return lay_out_tokens(prompt, media, self.tokenizer, tiled)
        return lay_out_chunks(prompt, media, self.tokenizer)

    def embed_prompt(self, layout: PromptLayout) -> torch.Tensor:
        """A laid-out prompt -> [n, hidden]; encodes its media."""
        rows = iter(self.encode_media(layout.media))
        return torch.cat(
            [
                self.embed_tokens(torch.tensor(part.token_ids))
                if isinstance(part, TextSegment)
                else next(rows)
                for part in layout.segments
            ]
        )

    def encode_media(self, media: Sequence[MediaSegment]) -> list[torch.Tensor]:
        """The rows of each medium; images of a kind go through the tower together."""
        rows: dict[int, torch.Tensor] = {}
        images: dict[bool, list[tuple[int, RgbImage]]] = {False: [], True: []}
        for place, medium in enumerate(media):
            if isinstance(medium.part, VideoPart):
                rows[place] = self.encode_video(medium.part.frames)
            else:
                images[medium.tiled].append((place, medium.part.pixels))
        for tiled, some in images.items():
            encoded = self.encode_images([pixels for _, pixels in some], tiled)
            rows.update(zip((place for place, _ in some), encoded, strict=True))
        return [rows[place] for place in range(len(media))]

    def media_tokens(self, medium: MediaSegment) -> int:
        """How many rows a medium takes in the prompt."""
        if isinstance(medium.part, VideoPart):
            return self.video_tokens([frame.shape[:2] for frame in medium.part.frames])
        height, width = medium.part.pixels.shape[:2]
        return self.image_tokens(height, width, medium.tiled)

    @torch.no_grad()
    def embed_tokens(self, ids: torch.Tensor) -> torch.Tensor:
        """Token ids [n] -> [n, hidden]."""
        return self.language_model.model.embed_tokens(ids.to(self.device))

    # Limits

    @cached_property
    def stop_token_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer."""
        generation = self.language_model.generation_config.eos_token_id
        configured = self.config.language.raw.get("eos_token_id")
        ids: list[int] = []
        for given in (self.tokenizer.eos_token_id, configured, generation):
            ids += given if isinstance(given, list) else [] if given is None else [given]
        known = self.tokenizer.get_added_vocab()
        ids += [known[text] for text in self.stop_strings if text in known]
        return tuple(dict.fromkeys(ids))

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """Texts that end an answer, where a model spells them out in ordinary tokens."""
        return self.conversation.stop_strings

    @cached_property
    def context_length(self) -> int:
        """Tokens that prompt and answer may take together.

        The reference cuts prompts at the length trained with, where the checkpoint states one.
        """
        raw = self.config.language.raw
        stated = [raw.get("tokenizer_model_max_length"), raw.get("model_max_length")]
        lengths = [int(length) for length in stated if length]
        return min([self.config.language.positions, self.tokenizer.model_max_length, *lengths])

    # Text around media

    def _mark_style(self, tiled: bool) -> MarkStyle:
        if self.config.generation == "nvila":
            tiles = tiled and self.config.image_aspect_ratio == "dynamic"
            return MarkStyle(after_image="\n" if tiles else "", trims=True, clips=True)
        if self.config.raw.get("mm_use_im_start_end"):
            return MarkStyle(image=f"<im_start>{IMAGE_MARK}<im_end>", after_image="\n")
        return MarkStyle(after_image="\n")

    @property
    def _tiles_images(self) -> bool:
        return self.config.generation == "nvila" and self.image_processor.tiles_images

    @cached_property
    def tile_tokens(self) -> int:
        """Projected tokens of one tile, or of an image that is not tiled."""
        return self.projector.tokens(self.vision_tower.tokens)

    @cached_property
    def tile_separator_ids(self) -> tuple[int, ...]:
        """The newline between the marks of two tiles, tokenized in its place."""
        mark = self.tokenizer.convert_tokens_to_ids(IMAGE_MARK)
        ids = self.tokenizer(f"{IMAGE_MARK}\n{IMAGE_MARK}").input_ids
        first = ids.index(mark)
        return tuple(ids[first + 1 : ids.index(mark, first + 1)])

    def text_ids(self, text: str | None) -> list[int]:
        """Token ids of framing text; none for None."""
        return [] if text is None else list(self.tokenizer(text).input_ids)

    def _text_length(self, text: str | None) -> int:
        return len(self.text_ids(text))

    def _embed_text(self, text: str | None) -> torch.Tensor | None:
        return None if text is None else self.embed_tokens(torch.tensor(self.text_ids(text)))
