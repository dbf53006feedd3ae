"""Fields of a stage by dotted path, and what is said of names that are none."""

import pytest

from align.recipe.field_paths import locate, near, reader
from tests.align.recipe.stages import one


@pytest.mark.parametrize(
    ("name", "owner", "path"),
    [
        ("learning_rate", "", "learning_rate"),
        ("weight_decay", "lora.lora_alpha", "weight_decay"),
        ("adam_beta1", "", "adam_beta1"),  # TRL's own
        ("r", "lora.lora_alpha", "lora.r"),
        ("r", "learning_rate", None),
        ("lora.r", "learning_rate", "lora.r"),
        ("lora.rank", "", None),
        ("lora", "", None),
        ("output_dir", "", None),  # a recipe cannot set it
        ("epsilon", "", None),  # another method's
    ],
)
def test_a_name_is_looked_for_in_its_owners_block_first(
    name: str, owner: str, path: str | None
) -> None:
    assert locate(one("sft"), name, owner) == path


def test_a_value_is_read_as_its_field_holds_it() -> None:
    stage = one("sft")
    assert reader(stage, "learning_rate")("1e-3") == 0.001
    assert reader(stage, "lora.r")(16) == 16
    assert reader(stage, "adam_beta1")("8e-1") == 0.8
    for path, value, told in (
        ("learning_rate", -1, "expected a number above 0"),
        ("lora.r", 0, "expected a whole number from 1 on"),
        ("adam_beta1", 2, "expected a number from 0 to below 1"),
    ):
        with pytest.raises(ValueError, match=told):
            reader(stage, path)(value)


def test_a_similar_name_is_suggested_else_where_names_stand_is_said() -> None:
    stage = one("sft")
    assert near(stage, "lerning_rate") == "; did you mean 'learning_rate'?"
    assert "allowed: fields of the stage, and of its lora as lora.r" in near(stage, "zzzz")
    assert "and here r, lora_alpha" in near(stage, "zzzz", "lora.lora_alpha")
