"""Adapters by id and by key: which are known, until when, and where a score is read."""

import pytest
import torch

from align.adapters.tensors import LoraFactors
from align.errors import AdapterError
from align.inference.loaded_adapters import LoadedAdapters, RewardHead
from align.inference.modeling.model import Model

FACTORS = LoraFactors(
    {"model.layers.0.self_attn.q_proj": (torch.ones(2, 64), torch.ones(64, 2))},
    score=torch.ones(1, 64),
)


@pytest.fixture
def loaded(tiny) -> LoadedAdapters:
    return LoadedAdapters(tiny, Model(tiny, 1, 16, 2, 8).bank)


def test_an_id_that_is_known_stays_what_it_is(loaded):
    loaded.add("a", FACTORS)
    first = loaded.named("a")
    loaded.add("a", LoraFactors({}))
    assert loaded.named("a") is first and loaded.ids == {"a"}
    assert torch.equal(first.head.weight, torch.ones(1, 64))


def test_a_removed_adapter_can_be_used_until_it_is_dropped_and_its_key_never_again(loaded):
    loaded.add("a", FACTORS)
    key = loaded.remove("a")
    assert loaded.ids == set() and loaded[key].id == "a" and loaded.ids_of([key]) == ("a",)
    with pytest.raises(AdapterError, match="adapter a is not loaded"):
        loaded.named("a")
    loaded.add("a", FACTORS)
    assert loaded.named("a").key != key
    loaded.drop(key)
    assert loaded.ids_of([key, loaded.named("a").key]) == ("a",)
    assert loaded.remove("nobody") is None


def test_the_last_call_says_which_adapters_stay_longest(loaded):
    loaded.add("a", FACTORS)
    loaded.add("b", FACTORS)
    keys = [loaded.named(name).key for name in ("a", "b")]
    loaded.keep(["a"])
    assert [loaded.is_kept(key) for key in keys] == [True, False]
    loaded.keep(["b", "c"])
    assert [loaded.is_kept(key) for key in (*keys, 99)] == [False, True, False]


def test_the_score_is_read_at_the_last_token_that_is_no_padding():
    head = RewardHead(torch.ones(1, 4), pad=0)
    places = [head.place(prompt) for prompt in ([5, 0, 6], [5, 6, 0, 0], [0, 0], (5,))]
    assert places == [2, 1, 0, 0]
    assert RewardHead(torch.ones(1, 4), pad=None).place([5, 0]) == 1
