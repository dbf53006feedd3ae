"""Sizes of an engine that cannot be are refused by name."""

import pytest

from align.errors import RequestError
from align.inference import EngineOptions
from align.inference.options import BESIDE_TRAINING, beside_training, lengthened


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("slots", 0),
        ("adapters", 0),
        ("chunk_tokens", -1),
        ("kv_bytes", 0),
        ("max_rank", 2000),
        ("first_tokens", 0),
    ],
)
def test_out_of_range(option, value):
    with pytest.raises(RequestError, match=f"{option}={value}"):
        EngineOptions(**{option: value})


def test_slots_grow_in_steps_up_to_their_limit():
    assert [lengthened(tokens, 1000) for tokens in (1, 256, 257, 900)] == [256, 256, 512, 1000]


def test_a_variable_turns_graphs_off_beside_training():
    assert beside_training(None) == beside_training("1") == BESIDE_TRAINING
    assert BESIDE_TRAINING.cuda_graphs and not beside_training("0").cuda_graphs
    with pytest.raises(RequestError, match=r"ALIGNERY_CUDA_GRAPHS=off: expected 0 .* or 1"):
        beside_training("off")
