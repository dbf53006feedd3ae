"""Random adapters that fit a base and each have an effect."""

import torch

from align.base import Base
from align.gpu_check.adapters import MIXED_RANKS, mixed_adapters, random_factors
from align.gpu_check.prompts import greedy, prompts
from align.inference import EngineOptions
from align.inference.engine import BankEngine


def test_there_are_sixteen_of_mixed_ranks(tiny: Base) -> None:
    adapters = mixed_adapters(tiny)
    assert tuple(factors.rank for factors in adapters.values()) == MIXED_RANKS
    assert len(adapters) == 16


def test_they_are_the_same_again_and_differ_by_seed(tiny: Base) -> None:
    one, same, other = (random_factors(tiny, 4, seed) for seed in (1, 1, 2))
    for name, (a, b) in one.modules.items():
        assert torch.equal(a, same.modules[name][0]) and torch.equal(b, same.modules[name][1])
        assert not torch.equal(a, other.modules[name][0])
    assert one.score is None
    assert random_factors(tiny, 4, 1, score=True).score.shape == (1, 64)


def test_each_changes_the_answers(tiny: Base) -> None:
    engine = BankEngine(tiny, EngineOptions(slots=4, slot_tokens=512, adapters=2))
    for seed, name in enumerate("ab"):
        engine.load(name, random_factors(tiny, 4, seed))
    asked = prompts(tiny, 1) * 3
    answers = greedy(engine, asked, ["a", "b", None], 8)
    assert len({tuple(one.token_ids) for one in answers}) == 3
