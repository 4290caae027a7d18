# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Memory that loading a checkpoint takes, over its bytes on the disk.

    python benchmarks/load.py --shape vila1.5-3b --weights random|DIR

The checkpoint is loaded, and every weight read once, in a process of its own, beside a process that
imports the same libraries and loads nothing; the difference of their peak resident memory is what
loading took. The disk is looked at as well: no copy of the weights may appear there.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET_RATIO = 1.2

CHILD = """
import json, resource, shutil, sys, time
sys.path.insert(0, sys.argv[1])
from vila_ros.model.checkpoint import load_vila
seconds = parameters = 0
if sys.argv[2]:
    started = time.perf_counter()
    vila = load_vila(sys.argv[2])
    for part in (vila.vision_tower, vila.projector, vila.language_model):
        for tensor in part.parameters():
            tensor.sum()
            parameters += tensor.nbytes
    seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"peak": peak, "seconds": seconds, "parameters": parameters}))
"""


def load(folder: str) -> dict[str, float]:
    """Peak resident memory of a process that loads a folder, or nothing."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(ROOT), folder], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def weight_bytes(folder: Path) -> int:
    """Bytes of the weight files."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.suffix in (".safetensors", ".bin"))


def measure(name: str, folder: Path) -> int:
    stored = weight_bytes(folder)
    nothing = load("")
    free = shutil.disk_usage(folder).free
    loaded = load(str(folder))
    copied = max(0, free - shutil.disk_usage(folder).free)
    took = loaded["peak"] - nothing["peak"]
    ratio = took / stored
    no_copy = copied < stored // 10
    print(f"weights on the disk    {stored / 1e9:8.3f} GB")
    print(f"libraries alone        {nothing['peak'] / 1e9:8.3f} GB resident at most")
    print(f"loaded, all read       {loaded['peak'] / 1e9:8.3f} GB resident at most")
    print(f"loading took           {took / 1e9:8.3f} GB, {ratio:.3f} times the weights")
    print(f"written to the disk    {copied / 1e9:8.3f} GB")
    figures = {
        "weights_gb": round(stored / 1e9, 3),
        "loaded_gb": round(took / 1e9, 3),
        "ratio": round(ratio, 3),
        "seconds": round(loaded["seconds"], 2),
        "written_gb": round(copied / 1e9, 3),
    }
    ok = ratio <= TARGET_RATIO and no_copy
    target = {"ratio": f"<= {TARGET_RATIO}", "written_gb": "no copy of the weights"}
    print(json.dumps({"name": name, "figures": figures, "target": target, "ok": ok}))
    return 0 if ok else 1


def main() -> int:
    sys.path.insert(0, str(ROOT))
    from vila_ros.model.random_checkpoint import SHAPES, write_random_checkpoint

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shape", default="vila1.5-3b", choices=list(SHAPES))
    parser.add_argument("--weights", default="random", help="random, or a checkpoint's folder")
    args = parser.parse_args()
    if args.weights != "random":
        return measure(f"load {Path(args.weights).name}", Path(args.weights))
    with tempfile.TemporaryDirectory() as folder:
        print(f"writing random weights to {folder}", flush=True)
        write_random_checkpoint(Path(folder), args.shape, dtype="bfloat16")
        return measure(f"load {args.shape}", Path(folder))


if __name__ == "__main__":
    sys.exit(main())
