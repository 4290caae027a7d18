# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The recipe's ablations at toy scale: what each part of it is for.

    python benchmarks/recipe.py [--seeds 3] [--quick] [--threads N]

A language model of 0.2 M parameters first learns a toy language from text alone. Then it learns to
see, by alignment, pretraining and instruction tuning, drawn pictures with one small thing in them
through a frozen, random vision tower; held-out pictures are scored. Four ways, side by side for
each seed:

    recipe           language model unfrozen, text-only data blended in, 2x2 downsample at 112 px
    projector only   the language model stays frozen in all stages
    no text          no text-only data in the last stage
    linear           a linear projector at 56 px: as many tokens, of a coarser picture

The article (arXiv:2312.07533, sections 3 and 4) finds the first best in each comparison. The last
line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vila_ros.datasets.types import ImageSource, Sample, SampleTurn
from vila_ros.model.checkpoint import load_vila
from vila_ros.model.random_checkpoint import Shape, write_random_checkpoint
from vila_ros.model.vila import Vila
from vila_ros.training.data import Packing
from vila_ros.training.encoding import MediaSlot, SampleEncoder
from vila_ros.training.journal import Journal
from vila_ros.training.loop import LoopSettings, train_stage
from vila_ros.training.model import MediaInput, TrainingBatch, VilaForTraining
from vila_ros.training.packing import Group, collate, share_prefix
from vila_ros.training.processes import Processes
from vila_ros.training.run_folder import RunFolder
from vila_ros.training.stages import Stage

COLOURS = {
    "red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 70, 220), "yellow": (230, 220, 50),
    "white": (240, 240, 240), "black": (15, 15, 15),
}  # fmt: skip
KINDS = ("box", "disc", "bar")
PLACES = ("left", "ahead", "right")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
QUESTIONS = {"colour": "what colour ?", "kind": "what kind ?", "side": "which side ?"}
SPECIAL = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
WORDS = (
    "Answer", "the", "system", "user", "assistant", "a", "is", ".", "?",
    "what", "which", "colour", "kind", "side", "after", "before",
    *COLOURS, *KINDS, *PLACES, *NUMBERS,
)  # fmt: skip
LENGTH = 512


@dataclass(frozen=True)
class Scene:
    """One thing. key: names its picture."""

    colour: str
    kind: str
    side: str
    key: str

    @property
    def caption(self) -> str:
        """What is to be seen, in words."""
        return f"a {self.colour} {self.kind} {self.side} ."


@dataclass(frozen=True)
class Way:
    """One way to train. pixels: side of a picture."""

    name: str
    learns_language: bool = True
    text_data: bool = True
    projector: str = "mlp_downsample_2x2_fix"
    pixels: int = 112


@dataclass(frozen=True)
class Effort:
    """How much: pictures to train and to score on, steps of a stage, samples a step."""

    scenes: int
    held_out: int
    text_steps: int
    steps: int
    batch: int = 32


WAYS = (
    Way("recipe"),
    Way("projector only", learns_language=False),
    Way("no text", text_data=False),
    Way("linear", projector="linear", pixels=56),
)
FULL, QUICK = Effort(1200, 300, 120, 200), Effort(24, 8, 2, 2, 8)


def make_scenes(count: int, seed: int) -> list[Scene]:
    random = np.random.default_rng(seed)
    scenes = []
    for number in range(count):
        chosen = (random.choice(list(COLOURS)), random.choice(KINDS), random.choice(PLACES))
        scenes.append(Scene(*map(str, chosen), f"{seed}-{number}"))
    return scenes


def draw(scene: Scene, pixels: int) -> np.ndarray:
    """The scene at 112 px, made coarser where fewer pixels are wanted."""
    random = np.random.default_rng([ord(letter) for letter in scene.key])
    image = np.full((112, 112, 3), random.integers(90, 160, 3)) + random.normal(0, 6, (112, 112, 3))
    column = 18 + 38 * PLACES.index(scene.side) + random.integers(-8, 9)
    row, size = random.integers(20, 92), random.integers(7, 12)
    y, x = np.mgrid[:112, :112]
    inside = {
        "box": (abs(x - column) < size) & (abs(y - row) < size),
        "disc": (x - column) ** 2 + (y - row) ** 2 < (1.13 * size) ** 2,
        "bar": (abs(x - column) < size / 3) & (abs(y - row) < 3 * size),
    }[scene.kind]
    image[inside] = COLOURS[scene.colour]
    step = 112 // pixels
    small = image.reshape(pixels, step, pixels, step, 3).mean((1, 3))
    return small.clip(0, 255).astype(np.uint8)


def talk(question: str, answer: str, image: ImageSource | None = None) -> Sample:
    parts = (question,) if image is None else (image, question)
    return Sample("x", (SampleTurn("user", parts), SampleTurn("assistant", (answer,))))


def seen(scene: Scene, image: ImageSource) -> list[Sample]:
    """A question of each kind on one picture."""
    return [talk(text, str(getattr(scene, task)), image) for task, text in QUESTIONS.items()]


def told(scenes: Sequence[Scene]) -> list[list[Sample]]:
    """Text alone: the same questions on described scenes, and the order of numbers."""
    samples = []
    for number, scene in enumerate(scenes):
        task = list(QUESTIONS)[number % 3]
        samples.append([talk(f"{scene.caption} {QUESTIONS[task]}", str(getattr(scene, task)))])
        at = number % 9
        samples.append([talk(f"what is after {NUMBERS[at]} ?", NUMBERS[at + 1])])
        samples.append([talk(f"what is before {NUMBERS[at + 1]} ?", NUMBERS[at])])
    return samples


class Encoded:
    """Samples as groups; those of one list share what they begin with."""

    def __init__(self, vila: Vila, samples: Sequence[Sequence[Sample]], version: str | None = None):
        encode = SampleEncoder(vila, version=version)
        self.groups: list[Group] = [share_prefix([encode(s) for s in some]) for some in samples]

    def __len__(self) -> int:
        return len(self.groups)

    def group(self, index: int) -> Group:
        """See TrainingData."""
        return self.groups[index]


class Features:
    """What the frozen tower makes of each picture, computed once."""

    def __init__(self, vila: Vila, scenes: Sequence[Scene], pixels: int):
        self._kept: dict[str, torch.Tensor] = {}
        for start in range(0, len(scenes), 64):
            some = scenes[start : start + 64]
            prepared = [vila.image_processor(draw(scene, pixels)) for scene in some]
            for scene, found in zip(some, vila.see(prepared), strict=True):
                self._kept[scene.key] = found

    def __call__(self, slot: MediaSlot) -> MediaInput:
        """See MediaSource."""
        assert isinstance(slot.source, ImageSource)
        return MediaInput(features=self._kept[slot.source.key])


def write_base(folder: Path, way: Way, seed: int) -> Vila:
    """A random model with a tokenizer of whole words."""
    shape = Shape(64, 3, 4, 4, 192, len(SPECIAL) + len(WORDS), LENGTH, 96, 1, 4, 96, way.pixels,
                  conversation="hermes-2")  # fmt: skip
    # Layer 0 is the patch embedding: a random one keeps what is to be seen, random layers blur it.
    overrides = {"mm_projector_type": way.projector, "mm_vision_select_layer": 0}
    write_random_checkpoint(folder, shape, seed, overrides=overrides)
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {word: index for index, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in SPECIAL])
    tokenizer.save(str(folder / "llm" / "tokenizer.json"))
    return load_vila(folder)


@torch.no_grad()
def accuracy(model: VilaForTraining, data: Encoded, media: Features) -> list[float]:
    """For each question of the groups (in order), the part that is answered right."""
    model.eval()
    right: list[list[bool]] = []
    for group in data.groups:
        rows = collate([[group]])
        output = model(TrainingBatch(rows, tuple(map(media, rows.slots))))
        places = rows.labels[:, 1:] != -100
        hits = output.logits.argmax(-1) == rows.labels[:, 1:][places]
        owner = rows.branch[:, 1:][places]
        right.append([bool(hits[owner == o].all()) for o in owner.unique()])
    return [statistics.fmean(column) for column in zip(*right, strict=True)]


class Lesson:
    """Trains one model stage by stage."""

    def __init__(self, vila: Vila, effort: Effort, media: Features, seed: int, folder: Path):
        self.vila, self._effort, self._media = vila, effort, media
        self._seed, self._folder = seed, folder

    def learn(self, name: str, data: Encoded, parts: set[str], rate: float, steps: int) -> None:
        """One stage."""
        stage = Stage(
            name, frozenset(parts), rate, self._effort.batch,  # type: ignore[arg-type]
            epochs=steps * self._effort.batch / len(data), length=LENGTH,
        )  # fmt: skip
        settings = LoopSettings(self._seed, Packing(8), save_every=10**9, threads=1)
        train_stage(
            VilaForTraining(self.vila, stage.tuned), data, self._media, stage, settings,
            Processes(), Journal(lambda line: None, 10**9), RunFolder(self._folder / name, {}),
        )  # fmt: skip


def run_way(way: Way, language: dict, effort: Effort, seed: int, folder: Path) -> dict[str, float]:
    """All stages of one way; returns what it answers right, in percent."""
    vila = write_base(folder / "base", way, seed)
    owned = {name: tensor.clone() for name, tensor in language.items()}
    vila.language_model.load_state_dict(owned)
    training = make_scenes(effort.scenes, 2 * seed + 1000)
    testing = make_scenes(effort.held_out, 2 * seed + 1001)
    media = Features(vila, [*training, *testing], way.pixels)
    lesson = Lesson(vila, effort, media, seed, folder)
    images = {scene.key: ImageSource(data=b"", key=scene.key) for scene in (*training, *testing)}
    captions = [[Sample("c", (SampleTurn("text", (images[s.key], s.caption)),))] for s in training]
    pairs = list(zip(training[::2], training[1::2], strict=False))
    documents = [
        [Sample("d", (SampleTurn("text", (images[a.key], a.caption, images[b.key], b.caption)),))]
        for a, b in pairs
    ]
    both = {"projector", "language_model"} if way.learns_language else {"projector"}
    lesson.learn("align", Encoded(vila, captions, "plain"), {"projector"}, 3e-3, effort.steps // 2)
    lesson.learn("pretrain", Encoded(vila, documents + captions[::2]), both, 1e-3, effort.steps)
    questions = [seen(scene, images[scene.key]) for scene in training]
    blended = questions + (told(training[: len(training) // 3]) if way.text_data else [])
    lesson.learn("sft", Encoded(vila, blended), both, 2e-3, effort.steps)
    model = VilaForTraining(vila, ["projector"])
    looked = accuracy(model, Encoded(vila, [seen(s, images[s.key]) for s in testing]), media)
    heard = accuracy(model, Encoded(vila, told(testing)), media)
    figures = dict(zip(QUESTIONS, looked, strict=True))
    figures |= {"pictures": statistics.fmean(looked), "text": heard[0]}
    return {name: round(100 * value, 1) for name, value in figures.items()}


def teach_language(effort: Effort, seed: int, folder: Path) -> dict[str, torch.Tensor]:
    """The language model's weights after text alone."""
    vila = write_base(folder / "base", WAYS[0], seed)
    lesson = Lesson(vila, effort, Features(vila, [], 112), seed, folder)
    scenes = make_scenes(effort.scenes, 2 * seed + 5000)
    lesson.learn("text", Encoded(vila, told(scenes)), {"language_model"}, 3e-3, effort.text_steps)
    return {name: tensor.clone() for name, tensor in vila.language_model.state_dict().items()}


def deviation(values: Sequence[float]) -> float:
    """Standard deviation over the seeds; 0 for one."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="see that it runs, learn nothing")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if min(args.seeds, args.threads) < 1:
        parser.error(f"--seeds {args.seeds} and --threads {args.threads} must be at least 1")
    torch.set_num_threads(args.threads)
    effort, seeds = (QUICK, 1) if args.quick else (FULL, args.seeds)
    columns = (*QUESTIONS, "pictures", "text")
    print(f"{'seed':<6}{'way':<18}" + "".join(f"{name:>10}" for name in columns) + f"{'time':>9}")
    found: dict[str, list[dict[str, float]]] = {way.name: [] for way in WAYS}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as name:
            language = teach_language(effort, seed, Path(name) / "text")
            for number, way in enumerate(WAYS):
                started = time.monotonic()
                figures = run_way(way, language, effort, seed, Path(name) / str(number))
                found[way.name].append(figures)
                cells = "".join(f"{figures[column]:>9.1f}%" for column in columns)
                spent = time.monotonic() - started
                print(f"{seed:<6}{way.name:<18}{cells}{spent:>7.0f} s", flush=True)
    means = {
        way: {column: round(statistics.fmean(f[column] for f in runs), 1) for column in columns}
        for way, runs in found.items()
    }
    spread = {
        way: {column: round(deviation([f[column] for f in runs]), 1) for column in columns}
        for way, runs in found.items()
    }
    for name, table in (("mean", means), ("+-", spread)):
        for way, figures in table.items():
            cells = "".join(f"{figures[column]:>9.1f}%" for column in columns)
            print(f"{name:<6}{way:<18}{cells}")
    recipe = means["recipe"]
    ok = args.quick or (
        recipe["pictures"] > means["projector only"]["pictures"]
        and recipe["text"] > means["no text"]["text"]
        and recipe["pictures"] > means["linear"]["pictures"]
    )
    target = {
        "pictures": "recipe > projector only, recipe > linear",
        "text": "recipe > no text",
    }
    figures = {way: mean | {"spread": spread[way]} for way, mean in means.items()}
    print(json.dumps({"name": "recipe", "figures": figures, "target": target, "ok": ok}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
