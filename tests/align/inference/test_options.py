"""Sizes of an engine that cannot be are refused by name."""

import pytest

from align.errors import RequestError
from align.inference import EngineOptions


@pytest.mark.parametrize(
    ("option", "value"),
    [("slots", 0), ("adapters", 0), ("chunk_tokens", -1), ("kv_bytes", 0), ("max_rank", 2000)],
)
def test_out_of_range(option, value):
    with pytest.raises(RequestError, match=f"{option}={value}"):
        EngineOptions(**{option: value})
