# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The signatures that `vila verify-runtime` expects, and those of the contracts here, are one."""

from __future__ import annotations

import pytest

from vila_ros.engine.runtime_contracts import compare, contracts_of, installed_api

RELEASES = [
    ("tensorrt_llm_engine", "v0_12_jetson", "0.12.0"),
    ("tensorrt_llm_engine", "v1_2", "1.2.1"),
    ("tensorrt_llm_pytorch", "v1_0", "1.0.0"),
    ("tensorrt_llm_pytorch", "v1_2", "1.2.1"),
]


@pytest.mark.parametrize(("runtime", "release", "version"), RELEASES)
def test_every_expected_callable_takes_what_is_given(install, runtime, release, version):
    install(release)

    installed_version, installed = installed_api(runtime)
    comparisons = compare(runtime, installed_version, installed)

    assert installed_version == version
    assert comparisons
    assert {each.contract.name: each.says for each in comparisons} == {
        each.contract.name: "agrees" for each in comparisons
    }


def test_a_release_of_other_names_is_told_by_what_it_does_not_take(install):
    install("v0_12_jetson")
    _, installed = installed_api("tensorrt_llm_engine")

    wrong = {
        each.contract.name: each.says
        for each in compare("tensorrt_llm_engine", "1.2.1", installed)
        if not each.agrees
    }

    assert wrong == {
        "executor.Request": "does not take max_tokens",
        "executor.SamplingConfig": "does not take seed",
        "executor.PromptTuningConfig": "does not take input_token_extra_ids",
    }


def test_a_callable_that_is_gone_is_missing(install):
    install("v1_2")
    version, installed = installed_api("tensorrt_llm_pytorch")
    installed["llmapi.KvCacheConfig"] = None

    wrong = [
        each for each in compare("tensorrt_llm_pytorch", version, installed) if not each.agrees
    ]

    assert [each.says for each in wrong] == ["missing"]


def test_each_contract_cites_its_source():
    contracts = contracts_of("tensorrt_llm_engine") + contracts_of("tensorrt_llm_pytorch")

    assert {each.first for each in contracts} == {"0.12", "0.13", "1.0.0rc0"}
    assert all("/" in each.source and " " in each.source for each in contracts)
