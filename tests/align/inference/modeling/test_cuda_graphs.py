"""Buckets, padding and the spare slot of recorded decode steps; recording itself needs a GPU."""

import pytest
import torch

from align.adapters.tensors import read_factors
from align.inference.kernels.plain import PlainOps
from align.inference.modeling import model as model_module
from align.inference.modeling.cuda_graphs import length_bucket, row_bucket
from align.inference.modeling.model import Model, Reading, Writing


@pytest.mark.parametrize(
    ("rows", "bucket"), [(1, 1), (3, 4), (9, 16), (33, 48), (128, 128), (129, 192), (200, 256)]
)
def test_row_buckets(rows, bucket):
    assert row_bucket(rows) == bucket


@pytest.mark.parametrize(
    ("longest", "bucket"), [(1, 128), (128, 128), (129, 256), (600, 1000), (1000, 1000)]
)
def test_length_buckets_end_at_the_slot(longest, bucket):
    assert length_bucket(longest, 1000) == bucket


def test_recorded_steps_equal_plain_ones(tiny, make_adapter, monkeypatch):
    monkeypatch.setattr(model_module, "choose_ops", lambda device, dtype: PlainOps())
    recorded = 0

    def capture(work):
        nonlocal recorded
        recorded += 1
        return work

    plain = Model(tiny, 4, 64, 2, 64)
    graphed = Model(tiny, 4, 64, 2, 64, capture)
    small, tall = make_adapter("small", 1), make_adapter("tall", 2, r=32)
    prompts = [[5, 6, 7], [8, 9], [10, 11, 12, 13]]

    def step(model, token):
        rows = [Writing(token + at, at, len(p), (0, 1, -1)[at]) for at, p in enumerate(prompts)]
        return model.write(rows)

    with torch.inference_mode():
        for model in (plain, graphed):
            model.bank.put(0, model.bank.prepare(read_factors(small), "small"))
            model.read([Reading(p, at, 0, -1) for at, p in enumerate(prompts)])
        for token in (20, 30, 40):
            torch.testing.assert_close(step(graphed, token), step(plain, token))
        assert recorded == 1  # three rows in a graph of four, replayed
        for model in (plain, graphed):
            model.bank.put(1, model.bank.prepare(read_factors(tall), "tall"))
        torch.testing.assert_close(step(graphed, 50), step(plain, 50))
        assert recorded == 2  # the taller adapter moved the factors
