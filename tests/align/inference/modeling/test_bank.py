"""Linear layers that add the LoRA of each token's adapter."""

import pytest
import torch

from align.adapters.tensors import LoraFactors
from align.errors import AdapterError
from align.inference.kernels.plain import PlainOps
from align.inference.modeling import bank as bank_module
from align.inference.modeling.bank import Bank
from tests.align.inference.kernels.random_batches import (
    decoding,
    random,
)


def test_a_slice_is_as_good_as_its_copy(ops, dtype):
    """Some families hand a linear layer half of another's output."""
    bank = Bank(2, 8, ops)
    linear = torch.nn.Linear(24, 40, bias=False).to(dtype).requires_grad_(False)
    layer = bank.linear({"it": linear})
    parts = random(torch.float32, 4, 24), random(torch.float32, 40, 4, seed=1)
    bank.put(1, bank.prepare(LoraFactors({"it": parts}), "test"))
    bank.batch = decoding([0] * 3, [1, -1, 1])
    x = random(dtype, 1, 3, 48)[..., 24:]
    assert torch.equal(layer(x), layer(x.clone(memory_format=torch.contiguous_format)))
    assert not torch.equal(layer(x)[0, 0], linear(x)[0, 0])


def layer_of(ops, dtype=torch.float32):
    bank = Bank(2, 8, ops)
    return bank, bank.linear({"it": torch.nn.Linear(24, 40).to(dtype).requires_grad_(False)})


FACTORS = random(torch.float32, 4, 24), random(torch.float32, 40, 4, seed=1)


def test_factors_are_prepared_in_pinned_memory_where_there_is_a_gpu(ops, dtype, monkeypatch):
    """They are copied when their slot is filled, and do not take a GPU's memory before."""
    bank, _ = layer_of(ops, dtype)
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self) or self)
    plain = bank.prepare(LoraFactors({"it": FACTORS}), "test")["it"]
    assert not pinned
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    prepared = bank.prepare(LoraFactors({"it": FACTORS}), "test")["it"]
    assert len(pinned) == 2 and all(at is ours for at, ours in zip(pinned, prepared, strict=True))
    for ours, theirs in zip(prepared, plain, strict=True):
        assert ours.dtype == dtype and ours.device.type == "cpu" and torch.equal(ours, theirs)


def test_factors_that_are_on_a_device_stay_there(monkeypatch):
    """The policy of a trainer is on its card already."""
    bank, _ = layer_of(PlainOps())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(bank_module, "_check_finite", lambda *_: None)  # reads a value
    on_device = tuple(factor.to("meta") for factor in FACTORS)
    prepared = bank.prepare(LoraFactors({"it": on_device}), "test")["it"]
    assert {factor.device.type for factor in prepared} == {"meta"}


def test_the_module_with_values_that_are_no_numbers_is_named(ops, dtype):
    bank, _ = layer_of(ops, dtype)
    bank.linear({"other": torch.nn.Linear(24, 40).to(dtype).requires_grad_(False)})
    wrong = FACTORS[0], FACTORS[1].clone()
    wrong[1][3, 2] = float("inf")
    factors = LoraFactors({"it": FACTORS, "other": wrong})
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(AdapterError, match=f"test: 'other' holds .* no numbers in {name}"):
        bank.prepare(factors, "test")


def test_the_version_changes_whenever_factors_move(ops):
    bank, _ = layer_of(ops)
    bank.linear({"other": torch.nn.Linear(24, 40).requires_grad_(False)})
    versions = [bank.version]
    for slot, factors in (
        (0, {"it": FACTORS}),
        (1, {"other": FACTORS}),  # a layer that no adapter had
        (0, {"it": FACTORS}),
        (1, {"it": tuple(torch.cat([f] * 2, dim) for dim, f in enumerate(FACTORS))}),
        (0, {"it": FACTORS}),
    ):
        bank.put(slot, bank.prepare(LoraFactors(factors), "test"))
        versions.append(bank.version)
    assert versions[0] < versions[1] < versions[2] == versions[3] <= versions[4] == versions[5]


def test_a_pass_derives_what_its_layers_share_anew():
    """A recorded pass reads its inputs again each time it is replayed."""
    bank, _ = layer_of(PlainOps(few_launches=True))
    given = decoding([3, 4])
    first = bank.begin(given)
    assert first.few_launches and first.position_index.tolist() == [3, 4]
    given.positions += 1
    assert first.position_index is first.position_index
    assert bank.begin(given).position_index.tolist() == [4, 5]
