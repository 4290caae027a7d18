# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which release of TensorRT-LLM does what."""

import pytest

from vila_ros.engine.tensorrt_llm_versions import (
    ENGINE_1_X,
    JETSON_0_12,
    Version,
    check_has_llm_api,
    corrected,
    engine_api,
    parameter_names,
)
from vila_ros.errors import Unsupported


def test_versions_are_ordered_as_they_were_released():
    texts = ["0.12.0", "0.16.0", "1.0.0rc4", "1.0.0", "1.2.0rc2", "1.2.1", "1.3.0rc9", "1.3.0rc21"]

    assert [str(v) for v in sorted(map(Version.parse, reversed(texts)))] == texts
    assert Version.parse("0.12") == Version.parse("0.12.0")
    assert Version.parse("1.2.0rc2").same_line(Version.parse("1.2.1"))


def test_a_text_that_is_no_version_is_told():
    with pytest.raises(Unsupported, match="'unknown'"):
        Version.parse("unknown")


@pytest.mark.parametrize("installed", ["1.3.0rc21", "1.3.0", "1.4.0rc1", "2.0.0"])
def test_engines_are_refused_from_1_3_0rc21_on_with_the_last_release_that_runs_them(installed):
    with pytest.raises(Unsupported, match=r"1\.3\.0rc21.*1\.2\.1"):
        engine_api(installed)


def test_engines_are_refused_before_0_12():
    with pytest.raises(Unsupported, match=r"older than 0\.12"):
        engine_api("0.9.0")


@pytest.mark.parametrize(
    ("installed", "api"),
    [
        ("0.12.0", JETSON_0_12),
        ("0.12.0.dev2024080600", JETSON_0_12),
        ("0.16.0", ENGINE_1_X),
        ("1.2.1", ENGINE_1_X),
        ("1.3.0rc20", ENGINE_1_X),
    ],
)
def test_a_release_has_its_row(installed, api):
    assert engine_api(installed) is api


def test_the_llm_api_begins_with_1_0():
    assert str(check_has_llm_api("1.0.0rc4")) == "1.0.0rc4"
    with pytest.raises(Unsupported, match="tensorrt_llm_engine"):
        check_has_llm_api("0.21.0")


def documented(text: str) -> type:
    """A compiled class, whose docstring alone tells its parameters."""

    class Compiled:
        def __init__(self, *args, **kwargs): ...

    Compiled.__init__.__doc__ = text
    return Compiled


PYBIND = """__init__(self: tensorrt_llm.bindings.executor.Request, input_token_ids: List[int], \
max_new_tokens: int, streaming: bool = False, map: Dict[str, Callable[[int, str], None]] = {}) \
-> None
"""
NANOBIND = """__init__(self, input_token_ids: collections.abc.Sequence[int], max_tokens: int, *, \
streaming: bool = False, bad_words: collections.abc.Sequence[collections.abc.Sequence[int]] | None \
= None) -> None
"""
OVERLOADED = """await_responses(*args, **kwargs)
Overloaded function.

1. await_responses(self: Executor, timeout: Optional[datetime.timedelta] = None) -> List[Response]

2. await_responses(self: Executor, id: int, timeout: Optional[datetime.timedelta] = None) -> List
"""


def test_parameters_of_compiled_code_are_read_from_its_documentation():
    assert parameter_names(documented(PYBIND)) == (
        "input_token_ids", "max_new_tokens", "streaming", "map",
    )  # fmt: skip
    assert parameter_names(documented(NANOBIND)) == (
        "input_token_ids", "max_tokens", "streaming", "bad_words",
    )  # fmt: skip
    assert parameter_names(documented(OVERLOADED)) == ("timeout", "id")
    assert parameter_names(documented("nothing to tell")) == ()


def test_parameters_of_python_code_are_read_from_its_signature():
    def function(self, a, b=1, *, c=None): ...

    assert parameter_names(function) == ("a", "b", "c")


class Bindings:
    """Of a release between the two rows: new names, no extra ids yet."""

    Request = documented(NANOBIND)
    SamplingConfig = documented("__init__(self, beam_width: int = 1, seed: int = None) -> None")
    PromptTuningConfig = documented("__init__(self, embedding_table: torch.Tensor) -> None")


class Runner:
    def generate(self, batch_input_ids, *, streaming=False): ...


def test_the_installed_code_corrects_its_row():
    api = corrected(JETSON_0_12, Bindings, Runner)

    assert (api.max_tokens, api.seed, api.extra_ids) == ("max_tokens", "seed", False)
    assert corrected(ENGINE_1_X, Bindings, Runner).extra_ids is False


def test_code_that_tells_nothing_leaves_the_row_as_it_is():
    class Silent:
        Request = SamplingConfig = PromptTuningConfig = documented("")

    assert corrected(ENGINE_1_X, Silent, Runner) == ENGINE_1_X
