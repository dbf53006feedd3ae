"""Operations in torch, on numbers that can be worked out by hand."""

import pytest
import torch

from align.inference.kernels.plain import PlainOps, attend_rows, store
from tests.align.inference.kernels.random_batches import decoding, random_cache


def test_a_norm_divides_by_the_root_of_the_mean_square():
    x, weight = torch.tensor([[1.0, 7.0], [0.0, 0.0]]), torch.tensor([1.0, 2.0])
    assert torch.allclose(
        PlainOps().rms_norm(x, weight, 0.0)[0], torch.tensor([0.2, 2.8])
    )  # the root of (1 + 49) / 2 is 5
    assert torch.equal(PlainOps().rms_norm(x, weight, 1e-5)[1], torch.zeros(2))


def test_the_gate_is_the_first_half():
    gated = PlainOps().silu_mul(torch.tensor([[0.0, 100.0, 3.0, 5.0]]))
    assert torch.allclose(gated, torch.tensor([[0.0, 500.0]]))


class Shape:
    """Of a cache of a single key head with two numbers."""

    kv_heads, head = 1, 2


def test_keys_and_values_go_to_the_slot_and_position_of_their_row():
    cache, batch = random_cache(torch.float32, Shape), decoding([4, 0], slots=[3, 1])
    keys, before = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]), cache.keys.clone()
    store(cache, keys, -keys, batch)
    assert cache.keys[3, 0, 4].tolist() == [1.0, 2.0] and cache.keys[1, 0, 0].tolist() == [3.0, 4.0]
    assert cache.values[3, 0, 4].tolist() == [-1.0, -2.0]
    assert int((cache.keys != before).sum()) == 4


@pytest.mark.parametrize(("window", "first"), [(None, 0), (3, 2), (100, 0), (1, 4)])
def test_a_query_of_zeros_gets_the_mean_of_what_it_sees(window, first):
    cache, batch = random_cache(torch.float32, Shape), decoding([4])
    cache.values[2, 0, :, 0] = torch.arange(cache.values.shape[2])
    out = attend_rows(cache, torch.zeros(1, 3, 2), batch, 1.0, window)
    assert out[0, ::2].tolist() == pytest.approx([(first + 4) / 2] * 3)
