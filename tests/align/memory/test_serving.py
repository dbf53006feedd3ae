"""What an engine certainly needs of a card."""

from align.inference.options import EngineOptions
from align.memory.serving import needs_of
from align.memory.shape import read_shape


def test_weights_and_all_keys_and_values_are_counted_in_two_bytes() -> None:
    base = "smollm2-135m-instruct"
    needs = needs_of(base, EngineOptions(slots=4, slot_tokens=1000))
    shape = read_shape(base)
    assert needs.weights == 2 * shape.parameters
    token = 2 * shape.layers * shape.key_width * 2
    assert needs.cache >= 4 * 1000 * token
    assert needs_of(base, EngineOptions(slots=8, slot_tokens=1000)).cache > needs.cache


def test_a_base_of_another_layout_is_checked_only_when_it_is_loaded(tmp_path) -> None:
    (tmp_path / "config.json").write_text("{}")
    needs = needs_of(str(tmp_path), EngineOptions())
    assert (needs.weights, needs.cache) == (0, 0)
