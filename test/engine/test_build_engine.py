# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How an engine folder is planned, built stage by stage, and finished."""

import json
import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from test.engine_folders import TINY_ROWS, write_language_engine, write_visual_engine
from vila_ros.engine.build_plan import BuildOptions, Needs, Stage, plan_build
from vila_ros.engine.build_run import check_disk, is_done, run_build
from vila_ros.engine.engine_folder import read_engine_folder
from vila_ros.engine.machine import Gpu, Machine
from vila_ros.engine.preflight import require_usable
from vila_ros.engine.sealing import seal_engine
from vila_ros.errors import EngineFailed, InvalidCheckpoint, InvalidRequest, Unsupported
from vila_ros.model.random_checkpoint import Shape, write_random_checkpoint

SMALL = Shape(256, 1, 4, 2, 256, 512, 2048, 32, 3, 4, 64, 56)
ORIN = Machine(Gpu("Orin", "sm_87", 64 << 30), "1.2.1", "10.11.0")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_random_checkpoint(tmp_path_factory.mktemp("models") / "small", SMALL)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    return folder


def plan_for(model, out, pictures, profile="agx_orin", **options):
    return plan_build(model, out, profile, BuildOptions(calibration=pictures, **options))


def argument(stage: Stage, name: str) -> str:
    return stage.command[stage.command.index(name) + 1]


def test_the_limits_of_the_language_engine_hold_the_images_of_a_question(model, tmp_path, pictures):
    plan = plan_for(model, tmp_path / "out", pictures, images=6, max_batch_size=3)

    language = next(stage for stage in plan.stages if stage.name == "language")
    assert argument(language, "--max_multimodal_len") == str(3 * 6 * TINY_ROWS)
    assert argument(language, "--max_input_len") == str(6 * TINY_ROWS + 1024)
    assert argument(language, "--max_seq_len") == str(6 * TINY_ROWS + 1024 + 512)
    assert argument(language, "--max_batch_size") == "3"


def test_the_profile_decides_what_is_built_for(model, tmp_path, pictures):
    orin = plan_for(model, tmp_path / "out", pictures)
    rtx = plan_for(model, tmp_path / "out", pictures, profile="rtx")

    assert [stage.name for stage in orin.stages] == [
        "quantise", "language", "visual-onnx", "visual", "seal",
    ]  # fmt: skip
    assert argument(orin.stages[-1], "--architecture") == "sm_87"
    assert "--architecture" not in rtx.stages[-1].command
    assert "--use_paged_context_fmha" in rtx.stages[1].command
    assert "--use_paged_context_fmha" not in orin.stages[1].command


def test_no_command_asks_for_the_fused_mlp_which_awq_lacks(model, tmp_path, pictures):
    plan = plan_for(model, tmp_path / "out", pictures, profile="rtx")

    assert not any("use_fused_mlp" in part for stage in plan.stages for part in stage.command)


def test_float16_is_converted_without_calibration(model, tmp_path):
    plan = plan_build(model, tmp_path / "out", "rtx", BuildOptions(precision="float16"))

    assert plan.stages[0].name == "convert"
    assert "--calibration" not in plan.stages[0].command


def test_without_a_visual_engine_the_vision_weights_are_kept(model, tmp_path, pictures):
    plan = plan_for(model, tmp_path / "out", pictures, visual=False)

    assert [stage.name for stage in plan.stages] == ["quantise", "language", "seal"]
    assert "--vision-tower" in plan.stages[-1].command
    assert any("in torch" in warning for warning in plan.warnings)


@pytest.mark.parametrize(
    ("profile", "options", "says"),
    [
        ("orin", {}, "profile 'orin' is unknown; known: agx_orin, rtx"),
        ("rtx", {"precision": "int3"}, "int3"),
        ("rtx", {"calibration": None}, "needs --calibration"),
        ("rtx", {"images": 0}, "--images is 0"),
        ("rtx", {"images": 65}, "--images is 65"),
        ("rtx", {"max_batch_size": 0}, "--max-batch-size is 0"),
    ],
)
def test_options_that_cannot_be_are_refused(model, tmp_path, pictures, profile, options, says):
    given = BuildOptions(**{"calibration": pictures, **options})

    with pytest.raises(InvalidRequest, match=says):
        plan_build(model, tmp_path / "out", profile, given)


def test_more_images_than_the_context_holds_are_refused_with_how_many_fit(tmp_path, pictures):
    short = write_random_checkpoint(tmp_path / "short", replace(SMALL, context=600))

    with pytest.raises(InvalidRequest, match="at most 6 fit"):
        plan_for(short, tmp_path / "out", pictures, images=8)


# Running: stages of small programs


def staged(plan, *programs: str):
    """The plan with stages that run Python programs, each writing its output's path itself."""
    stages = []
    for number, program in enumerate(programs):
        output = plan.out / f"part{number}"
        code = f"import os, sys\nout = {str(output)!r}\n{program}"
        needs = Needs(0, 0, 0, "nothing")
        command = (sys.executable, "-c", code)
        stages.append(Stage(f"stage{number}", "does it", command, output, needs))
    return replace(plan, stages=tuple(stages))


WRITE = "open(out, 'x').write('made')\nprint('made', out)"


@pytest.fixture
def plan(model, tmp_path, pictures):
    return plan_for(model, tmp_path / "out", pictures)


def test_every_stage_runs_once_and_its_command_is_told_before(plan):
    plan, told = staged(plan, WRITE, WRITE), []

    run_build(plan, told.append)
    assert [stage.output.read_text() for stage in plan.stages] == ["made", "made"]
    assert any(line.strip().startswith(sys.executable) for line in told)
    assert any(line.strip() == f"made {plan.stages[0].output}" for line in told)

    again: list[str] = []
    run_build(plan, again.append)
    assert [line.endswith("done before") for line in again] == [True, True]


def test_a_failed_stage_is_repeated_and_those_before_it_are_not(plan, tmp_path):
    allowed = tmp_path / "allowed"
    failing = f"{WRITE}\nif not os.path.exists({str(allowed)!r}): sys.exit('no room')"
    plan = staged(plan, WRITE, failing)

    with pytest.raises(EngineFailed, match=r"(?s)stage stage1 ended with status 1.*no room.*log"):
        run_build(plan, lambda line: None)
    assert is_done(plan, plan.stages[0])
    assert not is_done(plan, plan.stages[1])

    allowed.touch()
    told: list[str] = []
    run_build(plan, told.append)
    assert told[0] == "[1/2] stage0: done before"
    assert plan.stages[1].output.read_text() == "made"


def test_a_stage_that_was_killed_half_way_starts_afresh(plan, tmp_path):
    marker = tmp_path / "second"
    dying = (
        f"first = not os.path.exists({str(marker)!r})\nopen({str(marker)!r}, 'w')\n"
        "open(out, 'x').write('half' if first else 'made')\n"
        f"if first: os.kill(os.getpid(), {int(signal.SIGKILL)})"
    )
    plan = staged(plan, dying)

    with pytest.raises(EngineFailed, match=r"signal 9 .*out of memory"):
        run_build(plan, lambda line: None)
    assert plan.stages[0].output.read_text() == "half"

    run_build(plan, lambda line: None)
    assert plan.stages[0].output.read_text() == "made"


def test_a_changed_option_repeats_what_depends_on_it(plan):
    plan = staged(plan, WRITE, WRITE, WRITE)
    run_build(plan, lambda line: None)

    stages = list(plan.stages)
    stages[1] = replace(stages[1], command=(*stages[1].command, "--images=9"))
    changed = replace(plan, stages=tuple(stages))

    assert [is_done(changed, stage) for stage in changed.stages] == [True, False, False]


def test_an_output_that_is_gone_is_made_again(plan):
    plan = staged(plan, WRITE)
    run_build(plan, lambda line: None)

    plan.stages[0].output.unlink()

    assert not is_done(plan, plan.stages[0])


def test_a_folder_carried_to_another_machine_goes_on_there(model, tmp_path, pictures):
    here = plan_for(model, tmp_path / "here", pictures)
    quantised = here.stages[0]
    quantised.output.mkdir(parents=True)
    stamps = here.out / "build" / "stamps"
    stamps.mkdir()
    from vila_ros.engine.build_run import digest

    (stamps / "quantise.json").write_text(json.dumps({"digest": digest(here, quantised)}))
    shutil.copytree(here.out, tmp_path / "robot" / "engine")
    shutil.copytree(model, tmp_path / "robot" / "model")
    shutil.copytree(pictures, tmp_path / "robot" / "pictures")
    there = plan_for(
        tmp_path / "robot" / "model",
        tmp_path / "robot" / "engine",
        tmp_path / "robot" / "pictures",
        quantise_python="/usr/bin/python3.10",
    )

    assert is_done(there, there.stages[0])
    assert not is_done(there, there.stages[1])


def test_a_build_may_stop_after_a_stage(plan):
    plan = staged(plan, WRITE, WRITE)

    run_build(plan, lambda line: None, until="stage0")

    assert not plan.stages[1].output.exists()
    with pytest.raises(InvalidRequest, match="stages are stage0, stage1"):
        run_build(plan, lambda line: None, until="nothing")


def test_a_program_that_is_missing_is_told_with_where_it_is(plan):
    plan = staged(plan, WRITE)
    stage = replace(plan.stages[0], command=("no-such-trtllm-build",))

    with pytest.raises(Unsupported, match="no-such-trtllm-build, which is not on PATH"):
        run_build(replace(plan, stages=(stage,)), lambda line: None)


def test_a_stage_that_leaves_nothing_is_an_error(plan):
    with pytest.raises(EngineFailed, match="left no"):
        run_build(staged(plan, "pass"), lambda line: None)


def test_too_little_disk_is_told_before_anything_runs(tmp_path):
    free = shutil.disk_usage(tmp_path).free

    check_disk(tmp_path, free // 2)
    with pytest.raises(InvalidRequest, match="GB are free"):
        check_disk(tmp_path, free + (1 << 40))


def is_ended(state: Path) -> bool:
    """Whether the process of a /proc/PID/stat is gone or a zombie."""
    try:
        return state.read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_interrupting_ends_the_command_and_what_it_started(plan, tmp_path):
    """As Ctrl-C does: the progress callback raises KeyboardInterrupt."""
    program = (
        "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\n"
        "print('child', child.pid, flush=True)\nchild.wait()"
    )
    children = []

    def progress(line: str) -> None:
        if "child" in line.split()[:1]:
            children.append(int(line.split()[1]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_build(staged(plan, program), progress)

    state = Path(f"/proc/{children[0]}/stat")
    # The signal has been sent; the kernel may take a moment to end the process.
    patience = time.monotonic() + 30.0
    while not is_ended(state) and time.monotonic() < patience:
        time.sleep(0.01)
    assert is_ended(state)
    assert os.path.exists(plan.out)


# Sealing


@pytest.fixture
def built(tmp_path):
    """What the stages before the last one leave, for the tiny model."""
    model = write_random_checkpoint(tmp_path / "tiny")
    folder = tmp_path / "engine"
    write_language_engine(folder / "llm")
    write_visual_engine(folder / "vision")
    return folder, model


def test_sealing_makes_a_folder_that_runs_without_the_model(built):
    folder, model = built

    manifest = seal_engine(folder, model, ORIN, precision="int4_awq", architecture="sm_87")

    shutil.rmtree(model)
    assert manifest.rows_per_image == TINY_ROWS
    assert (manifest.token_order, manifest.conversation) == ("column", "vicuna_v1")
    require_usable(read_engine_folder(folder), ORIN)
    assert (folder / "model" / "llm" / "tokenizer.json").is_file()
    assert not list((folder / "model").rglob("*.safetensors"))
    assert "llm/rank0.engine" in manifest.files


def test_a_folder_without_a_visual_engine_keeps_the_vision_weights(built):
    folder, model = built
    shutil.rmtree(folder / "vision")

    with pytest.raises(InvalidCheckpoint, match="--vision-tower"):
        seal_engine(folder, model, ORIN, precision="int4_awq")
    seal_engine(folder, model, ORIN, precision="int4_awq", vision_tower=True)

    kept = {path.parent.name for path in (folder / "model").rglob("*.safetensors")}
    assert kept == {"vision_tower", "mm_projector"}


def test_an_engine_is_sealed_on_a_gpu_of_its_architecture_alone(built):
    folder, model = built

    with pytest.raises(Unsupported, match="profile is for sm_89"):
        seal_engine(folder, model, ORIN, precision="int4_awq", architecture="sm_89")
    with pytest.raises(Unsupported, match="no CUDA GPU"):
        seal_engine(folder, model, Machine(None, None, None), precision="int4_awq")
    assert not (folder / "vila_engine.json").exists()


@pytest.mark.parametrize(
    "change", [{"hidden_size": 128}, {"output_shape": [-1, 196, 64]}], ids=["language", "visual"]
)
def test_engines_of_another_model_are_not_sealed(built, change):
    folder, model = built
    if "hidden_size" in change:
        write_language_engine(folder / "llm", **change)
    else:
        write_visual_engine(folder / "vision", **change)

    with pytest.raises(InvalidCheckpoint, match="different models"):
        seal_engine(folder, model, ORIN, precision="int4_awq")
