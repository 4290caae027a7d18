"""Picked tokens follow the asked distribution, from the request's own random numbers."""

import math

import pytest
import torch

from vila_ros.errors import EngineFailed, InvalidOutput
from vila_ros.model.sampling import Sampler, check_logits

LOGITS = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()


def draw(count, **options):
    sampler = Sampler(**options)
    return [sampler.pick(LOGITS.clone()) for _ in range(count)]


def test_greedy_takes_the_lowest_id_of_equals():
    assert Sampler().pick(torch.tensor([0.0, 2.0, 1.0, 2.0])) == 1


def test_the_same_seed_gives_the_same_tokens_and_another_does_not():
    assert draw(50, temperature=1.0, seed=7) == draw(50, temperature=1.0, seed=7)
    assert draw(50, temperature=1.0, seed=7) != draw(50, temperature=1.0, seed=8)
    assert draw(5, temperature=1.0, seed=-1) == draw(5, temperature=1.0, seed=-1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_those_of_the_tempered_distribution(temperature):
    expected = (LOGITS / temperature).softmax(-1)
    counts = torch.bincount(torch.tensor(draw(4000, temperature=temperature)), minlength=4)
    # Five standard deviations of a binomial count.
    for count, p in zip(counts.tolist(), expected.tolist(), strict=True):
        assert abs(count - 4000 * p) < 5 * math.sqrt(4000 * p * (1 - p))


@pytest.mark.parametrize(
    ("top_p", "allowed"),
    [(0.4, {0}), (0.5, {0}), (0.6, {0, 1}), (0.9, {0, 1, 2}), (1.0, {0, 1, 2, 3})],
)
def test_top_p_keeps_the_least_set_that_reaches_it(top_p, allowed):
    assert set(draw(600, temperature=1.0, top_p=top_p)) == allowed


def test_damaged_logits_are_reported():
    with pytest.raises(EngineFailed, match="not numbers"):
        check_logits(torch.tensor([1.0, math.nan]))
    with pytest.raises(InvalidOutput, match="simpler schema"):
        check_logits(torch.tensor(-math.inf))
