"""Sizes of an endpoint, as its engine and its queue get them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from align.inference import EngineOptions
from serve.app import AppArgs


def test_sizes_reach_engine_and_queue():
    args = AppArgs(
        base="tiny-random", slots=3, slot_tokens=64, kv_gib=0.5, adapters=2, known_adapters=9,
        known_gib=0.25, waiting_rows=5, default_max_tokens=7, cuda_graphs=False,
        parse_control_tokens=True,
    )  # fmt: skip
    assert args.engine_options() == EngineOptions(
        slots=3,
        slot_tokens=64,
        kv_bytes=2**29,
        adapters=2,
        cuda_graphs=False,
        parse_control_tokens=True,
    )
    limits = args.limits()
    assert (limits.slots, limits.waiting, limits.known_adapters) == (3, 5, 9)
    assert limits.default_tokens == 7 and limits.known_bytes == 2**28


def test_memory_that_is_not_given_is_left_to_the_engine():
    assert AppArgs(base="tiny-random").engine_options() == EngineOptions()


@pytest.mark.parametrize("wrong", [{"kv_gib": 0}, {"kv_gib": float("nan")}, {"slot": 3}])
def test_sizes_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValidationError):
        AppArgs(base="tiny-random", **wrong)
