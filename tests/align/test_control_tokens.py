from copy import deepcopy

from tokenizers import AddedToken

from align.base import Base
from align.control_tokens import control_tokens, names_of, texts_of, with_texts, written_tokens


def test_control_tokens_are_the_special_added_tokens(tiny: Base) -> None:
    tokenizer = deepcopy(tiny.tokenizer)
    tokenizer.add_tokens([AddedToken("<think>", special=False)])
    assert control_tokens(tokenizer) == {"<|im_start|>": 0, "<|im_end|>": 1}


def test_written_tokens_are_in_the_order_of_the_vocabulary() -> None:
    assert written_tokens(["x </s>", "<s> </s>"], ["<s>", "</s>", "<pad>"]) == ["<s>", "</s>"]


def test_texts_of_messages_are_their_strings_without_roles() -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "a"}], "name": "b"},
        {"role": "assistant", "content": "c", "weight": 1, "calls": ({"arguments": {"x": "d"}},)},
    ]
    assert list(texts_of(messages)) == ["a", "b", "c", "d"]


def test_all_strings_are_either_texts_or_names() -> None:
    value = [{"role": "user", "content": "a"}, {"x": {"type": ["b"], "y": ("c", 1)}}]
    assert list(texts_of(value)) == ["a", "c"]
    assert sorted(names_of(value)) == ["b", "content", "role", "type", "user", "x", "y"]
    assert with_texts(value, str.upper, lambda name: f"{name}.") == [
        {"role.": "user.", "content.": "A"},
        {"x.": {"type.": ["b."], "y.": ["C", 1]}},
    ]
