"""What commands of serving make of their options."""

from __future__ import annotations

import pytest

from serve.commands.common import champions_base, sizes
from serve.errors import ServeError
from tests.serve.serve_fakes import BASE


def test_sizes_are_those_of_the_options():
    made = sizes(3, None, 0.5, 2, False)
    assert (made.slots, made.slot_tokens, made.kv_gib, made.adapters) == (3, None, 0.5, 2)
    assert not made.engine_options().cuda_graphs
    assert sizes(3, None, None, 2, True).engine_options().kv_bytes is None


def test_control_tokens_in_messages_are_text_unless_an_option_says_otherwise():
    assert not sizes(3, None, None, 2, True).engine_options().parse_control_tokens
    assert sizes(3, None, None, 2, True, True).engine_options().parse_control_tokens


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), float("inf")])
def test_a_size_of_memory_is_above_nothing_and_finite(size):
    with pytest.raises(ServeError, match="expected a number above 0"):
        sizes(3, None, size, 2, True)


def test_the_base_is_that_of_all_champions(adapters):
    registry = adapters.registry
    assert champions_base(registry, "run") == BASE
    registry.promote("elsewhere/sft", 1)
    with pytest.raises(
        ServeError,
        match=rf"several bases .*\(another-base, {BASE}\).*serve run --base another-base`",
    ):
        champions_base(registry, "run")
