# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a published VILA folder says about itself, typed and checked.

The layout is that of NVlabs/VILA: config.json in the root, and the folders llm/, vision_tower/ and
mm_projector/ with a config.json each. The root holds the sub-configs as dicts, or as the paths they
had on the machine that trained the model; such a path is only a fallback for a missing folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vila_ros.errors import InvalidCheckpoint, InvalidRequest

Generation = Literal["vila1.5", "nvila"]
VisionKind = Literal["siglip", "clip", "internvit", "dinov2"]
LanguageKind = Literal["llama", "qwen2"]
TokenOrder = Literal["row", "column"]

# model_type of vision_tower/config.json -> kind. Whole two-tower configs nest a vision_config.
VISION_KINDS: Mapping[str, VisionKind] = {
    "siglip_vision_model": "siglip",
    "siglip": "siglip",
    "clip_vision_model": "clip",
    "clip": "clip",
    "intern_vit_6b": "internvit",
    "dinov2": "dinov2",
}
LANGUAGE_KINDS: Mapping[str, LanguageKind] = {"llama": "llama", "qwen2": "qwen2"}
PROJECTOR_KINDS = (
    "linear",
    "mlpNx_gelu (N = 1, 2, …)",
    "mlp_downsample",
    "mlp_downsample_2x2_fix",
    "mlp_downsample_3x3_fix",
)
ASPECT_RATIOS = ("resize", "pad", "dynamic", "dynamic_s2")
SELECT_FEATURES = ("patch", "cls_patch")

# Keys that LlavaConfig has on NVLabs/VILA main (llava/model/configuration_llava.py) and lacks on
# branch vila1.5: a checkpoint that has one was written by the newer code.
NVILA_KEYS = ("image_encoder", "video_encoder", "dynamic_s2", "fps", "min_tiles", "chat_template")
NVILA_TRANSFORMERS = (4, 46)


@dataclass(frozen=True)
class VisionConfig:
    """The vision tower; sizes in pixels. raw is its config.json, for the tower's own class."""

    kind: VisionKind
    hidden_size: int
    layers: int
    image_size: int
    patch_size: int
    raw: Mapping[str, Any]

    @property
    def has_class_token(self) -> bool:
        """Whether a class token stands before the patches; SigLIP has none."""
        return self.kind != "siglip"


@dataclass(frozen=True)
class LanguageConfig:
    """The language model. positions: longest sequence its position encoding was made for."""

    kind: LanguageKind
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    positions: int
    raw: Mapping[str, Any]

    @property
    def head_size(self) -> int:
        """Channels of one attention head."""
        return int(self.raw.get("head_dim") or self.hidden_size // self.heads)


@dataclass(frozen=True)
class Scales:
    """S2: the image is encoded at several scales, whose features are concatenated by channel.

    sizes: side of the square image at each scale, ascending, pixels. tile: side of what the tower
    sees. output: index of the scale whose grid the others are resized to. dynamic: the last scale
    follows the image's aspect ratio (NVILA's dynamic_s2).
    """

    sizes: tuple[int, ...]
    tile: int
    output: int
    dynamic: bool


@dataclass(frozen=True)
class MediaEncoderConfig:
    """How a medium's rows are framed by text, and how a clip is pooled.

    pool_sizes: one (frames, rows, columns) a level for the TSP encoder; empty for the basic one.
    """

    start_tokens: str | None = None
    end_tokens: str | None = None
    sep_tokens: str | None = None
    pool_sizes: tuple[tuple[int, int, int], ...] = ()


@dataclass(frozen=True)
class VilaConfig:
    """A whole model. token_order_reason says why that order was chosen, for `vila model info`."""

    root: Path
    llm_folder: Path
    vision_folder: Path
    projector_folder: Path
    generation: Generation
    language: LanguageConfig
    vision: VisionConfig
    projector: str
    token_order: TokenOrder
    token_order_reason: str
    mm_hidden_size: int
    select_layer: int
    select_feature: str
    image_aspect_ratio: str | None
    scales: Scales | None
    min_tiles: int
    max_tiles: int
    num_video_frames: int
    fps: float
    image_encoder: MediaEncoderConfig
    video_encoder: MediaEncoderConfig
    conversation: str | None
    chat_template: str | None
    raw: Mapping[str, Any]

    @property
    def name(self) -> str:
        """A name for people: the folder's."""
        return self.root.resolve().name

    @property
    def grid(self) -> int:
        """Patches along a side of what the tower sees."""
        return self.vision.image_size // self.vision.patch_size


def read_config(folder: str | Path, token_order: str | None = None) -> VilaConfig:
    """Read and check a checkpoint folder's configuration; weights are not touched.

    token_order: "row" or "column" overrides the choice by age for projector mlp_downsample.
    Raises InvalidCheckpoint when a file is missing, broken, or names a part this package lacks.
    """
    root = Path(folder)
    if not (root / "config.json").is_file() and (root / "model" / "config.json").is_file():
        root = root / "model"
    raw = read_json(root / "config.json")
    where = root / "config.json"
    llm_folder, llm = _component(root, raw, "llm")
    vision_folder, vision = _component(root, raw, "vision_tower")
    projector_folder, projector = _component(root, raw, "mm_projector")

    generation = _generation(raw)
    kind = _projector_kind(projector, projector_folder / "config.json")
    order, reason = choose_token_order(kind, raw, token_order)
    vision_config = _vision(vision, vision_folder / "config.json")
    scales = _scales(raw, vision_config, where)
    aspect = raw.get("image_aspect_ratio")
    select_feature = str(raw.get("mm_vision_select_feature") or "patch")
    if select_feature not in SELECT_FEATURES:
        raise InvalidCheckpoint(
            f"{where}: mm_vision_select_feature {select_feature!r} is unknown; "
            f"known are {', '.join(SELECT_FEATURES)}"
        )
    frame = "\n" if generation == "nvila" else None
    select_layer = raw.get("mm_vision_select_layer")
    return VilaConfig(
        root=root,
        llm_folder=llm_folder,
        vision_folder=vision_folder,
        projector_folder=projector_folder,
        generation=generation,
        language=_language(llm, llm_folder / "config.json"),
        vision=vision_config,
        projector=kind,
        token_order=order,
        token_order_reason=reason,
        mm_hidden_size=vision_config.hidden_size * (len(scales.sizes) if scales else 1),
        select_layer=-2 if select_layer is None else int(select_layer),
        select_feature=select_feature,
        image_aspect_ratio=None if aspect is None else str(aspect),
        scales=scales,
        min_tiles=int(raw.get("min_tiles") or 1),
        max_tiles=int(raw.get("max_tiles") or 12),
        num_video_frames=int(raw.get("num_video_frames") or 8),
        fps=float(raw.get("fps") or 0.0),
        image_encoder=_media_encoder(raw.get("image_encoder"), frame, where),
        video_encoder=_media_encoder(raw.get("video_encoder"), frame, where),
        conversation=raw.get("conversation"),
        chat_template=raw.get("chat_template"),
        raw=raw,
    )


def vision_config(folder: Path) -> VisionConfig:
    """A vision tower's folder alone. Raises InvalidCheckpoint."""
    where = folder / "config.json"
    return _vision(read_json(where), where)


def choose_token_order(
    projector: str, raw: Mapping[str, Any], override: str | None
) -> tuple[TokenOrder, str]:
    """In which order a downsampling projector hands its pooled tokens on, and why.

    Branch vila1.5 hands the tokens of `mlp_downsample` on column by column; main, under the same
    name, row by row (llava/model/multimodal_projector/base_projector.py of both). A checkpoint
    only works with the order it was trained with, so its age decides.
    """
    if override is not None and override not in ("row", "column"):
        raise InvalidRequest(f'token order {override!r} is unknown; it is "row" or "column"')
    if projector != "mlp_downsample":
        if override == "column":
            raise InvalidRequest(
                f"projector {projector} has one token order, row; only mlp_downsample has two"
            )
        return "row", f"projector {projector} has no other"
    if override is not None:
        return ("row" if override == "row" else "column"), "given by the caller"
    newer = _newer_code(raw)
    if newer:
        return "row", f"written by the code of NVILA: {newer}"
    version = raw.get("transformers_version", "not given")
    return "column", f"written by the code of VILA1.5: transformers_version is {version}"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; InvalidCheckpoint names the file otherwise."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InvalidCheckpoint(f"{path} is missing; a VILA checkpoint has it") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidCheckpoint(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(data, dict):
        raise InvalidCheckpoint(f"{path} holds a {type(data).__name__}, expected a JSON object")
    return data


def _component(root: Path, raw: Mapping[str, Any], name: str) -> tuple[Path, dict[str, Any]]:
    """A part's folder and its config: its own config.json, else the dict in the root's."""
    given = raw.get(f"{name}_cfg")
    folder = root / name
    if not folder.is_dir() and isinstance(given, str):
        for candidate in (root / given, root / Path(given).name, Path(given)):
            if (candidate / "config.json").is_file():
                folder = candidate
                break
    if not folder.is_dir():
        named = f" ({name}_cfg names {given!r}, which is not here either)" if given else ""
        raise InvalidCheckpoint(
            f"{root / name} is missing{named}; a VILA checkpoint has llm/, vision_tower/ and "
            "mm_projector/ in its folder"
        )
    if (folder / "config.json").is_file() or not isinstance(given, dict):
        return folder, read_json(folder / "config.json")
    return folder, dict(given)


def _newer_code(raw: Mapping[str, Any]) -> str:
    """What shows that the code of NVILA wrote the checkpoint; empty if nothing does."""
    keys = [key for key in NVILA_KEYS if key in raw]
    if keys:
        return f"config.json has {', '.join(keys[:3])}"
    match = re.match(r"(\d+)\.(\d+)", str(raw.get("transformers_version", "")))
    if match and (int(match[1]), int(match[2])) >= NVILA_TRANSFORMERS:
        return f"transformers_version is {raw['transformers_version']}"
    return ""


def _generation(raw: Mapping[str, Any]) -> Generation:
    return "nvila" if _newer_code(raw) else "vila1.5"


def _projector_kind(raw: Mapping[str, Any], where: Path) -> str:
    kind = str(raw.get("mm_projector_type"))
    if re.fullmatch(r"linear|mlp[1-9]x_gelu|mlp_downsample(_2x2_fix|_3x3_fix)?", kind):
        return kind
    raise InvalidCheckpoint(
        f"{where}: mm_projector_type {kind!r} is unknown; known are {', '.join(PROJECTOR_KINDS)}"
    )


def _vision(raw: Mapping[str, Any], where: Path) -> VisionConfig:
    outer = str(raw.get("model_type"))
    raw = raw.get("vision_config", raw)
    model_type = str(raw.get("model_type", outer))
    kind = VISION_KINDS.get(model_type)
    if kind is None and "InternVisionModel" in raw.get("architectures", ()):
        kind = "internvit"
    if kind is None:
        raise InvalidCheckpoint(
            f"{where}: vision tower {model_type!r} is unknown; known are "
            f"{', '.join(sorted(set(VISION_KINDS.values())))}"
        )
    return VisionConfig(
        kind=kind,
        hidden_size=_integer(raw, "hidden_size", where),
        layers=_integer(raw, "num_hidden_layers", where),
        image_size=_integer(raw, "image_size", where),
        patch_size=_integer(raw, "patch_size", where),
        raw=raw,
    )


def _language(raw: Mapping[str, Any], where: Path) -> LanguageConfig:
    model_type = str(raw.get("model_type"))
    kind = LANGUAGE_KINDS.get(model_type)
    if kind is None:
        raise InvalidCheckpoint(
            f"{where}: language model {model_type!r} is unknown; known are "
            f"{', '.join(LANGUAGE_KINDS)}"
        )
    heads = _integer(raw, "num_attention_heads", where)
    scaling = raw.get("rope_scaling") or {}
    factor = float(scaling.get("factor") or 1.0) if isinstance(scaling, Mapping) else 1.0
    return LanguageConfig(
        kind=kind,
        hidden_size=_integer(raw, "hidden_size", where),
        layers=_integer(raw, "num_hidden_layers", where),
        heads=heads,
        kv_heads=int(raw.get("num_key_value_heads") or heads),
        vocabulary=_integer(raw, "vocab_size", where),
        positions=int(_integer(raw, "max_position_embeddings", where) * factor),
        raw=raw,
    )


def _scales(raw: Mapping[str, Any], vision: VisionConfig, where: Path) -> Scales | None:
    dynamic = bool(raw.get("dynamic_s2"))
    if not (dynamic or raw.get("s2")):
        return None
    given = raw.get("s2_scales")
    try:
        listed = given.split(",") if isinstance(given, str) else list(given or ())
        sizes = tuple(sorted(int(size) for size in listed))
    except (TypeError, ValueError):
        sizes = ()
    if len(sizes) < 2 or sizes[0] < 1:
        raise InvalidCheckpoint(
            f"{where}: s2_scales is {given!r}, expected two or more sizes such as '384,768'"
        )
    tile = sizes[0] if dynamic else int(raw.get("s2_max_split_size") or sizes[0])
    if tile != vision.image_size:
        raise InvalidCheckpoint(
            f"{where}: S2 tiles of {tile} px do not fit the vision tower's {vision.image_size} px"
        )
    output = int(raw.get("s2_resize_output_to_scale_idx") or 0)
    if not -len(sizes) <= output < len(sizes):
        raise InvalidCheckpoint(
            f"{where}: s2_resize_output_to_scale_idx {output} names none of {len(sizes)} scales"
        )
    return Scales(sizes, tile, output % len(sizes), dynamic)


def _media_encoder(given: object, end_tokens: str | None, where: Path) -> MediaEncoderConfig:
    """An encoder of llava/model/encoders, which the config names by a hydra _target_."""
    try:
        spec = json.loads(given) if isinstance(given, str) else given
    except json.JSONDecodeError as error:
        raise InvalidCheckpoint(f"{where}: encoder {given!r} is not JSON: {error}") from error
    if spec is None:
        return MediaEncoderConfig(end_tokens=end_tokens)
    if not isinstance(spec, dict):
        spec = {}
    target = str(spec.get("_target_", "")).rsplit(".", 1)[-1]
    if target not in ("BasicImageEncoder", "BasicVideoEncoder", "TSPVideoEncoder"):
        raise InvalidCheckpoint(
            f"{where}: encoder {given!r} is unknown; known are BasicImageEncoder, "
            "BasicVideoEncoder and TSPVideoEncoder"
        )
    pools: tuple[tuple[int, int, int], ...] = ()
    if target == "TSPVideoEncoder":
        try:
            pools = tuple((int(t), int(h), int(w)) for t, h, w in spec["pool_sizes"])
        except (KeyError, TypeError, ValueError):
            pools = ()
        if not pools or min(size for pool in pools for size in pool) < 1:
            raise InvalidCheckpoint(
                f"{where}: TSPVideoEncoder needs pool_sizes such as [[8, 1, 1]], "
                f"got {spec.get('pool_sizes')!r}"
            )
    return MediaEncoderConfig(
        start_tokens=spec.get("start_tokens"),
        end_tokens=spec.get("end_tokens", end_tokens),
        sep_tokens=spec.get("sep_tokens"),
        pool_sizes=pools,
    )


def _integer(raw: Mapping[str, Any], key: str, where: Path) -> int:
    value = raw.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidCheckpoint(f"{where}: {key} is {value!r}, expected a positive integer")
    return value
