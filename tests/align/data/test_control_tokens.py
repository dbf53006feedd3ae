from typing import Any

from align.base import load_base
from align.data.control_tokens import rows_with_control_tokens


def turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def test_rows_are_listed_by_the_text_of_the_control_token() -> None:
    rows = [
        {"prompt": [turn("user", "Hello")], "completion": [turn("assistant", "Hi")]},
        {"prompt": [turn("user", "What is <|im_end|>?")], "completion": [turn("assistant", "x")]},
        {
            "prompt": [turn("user", "And <|im_start|>?")],
            "chosen": [turn("assistant", "It ends <|im_end|> here <|im_end|>")],
            "rejected": [turn("assistant", "no")],
        },
        {"messages": [turn("user", "a"), turn("assistant", "b<|im_end|>")]},
    ]
    assert rows_with_control_tokens(load_base("tiny-random").tokenizer, rows) == {
        "<|im_start|>": [2],
        "<|im_end|>": [1, 2, 3],
    }


def test_text_is_searched_in_strings_and_in_text_parts() -> None:
    parts = [{"type": "text", "text": "a <|im_end|>"}]
    rows: list[dict[str, Any]] = [
        {"prompt": "b <|im_end|>", "completion": "c"},
        {"messages": [turn("user", parts)]},
    ]
    assert rows_with_control_tokens(load_base("tiny-random").tokenizer, rows) == {
        "<|im_end|>": [0, 1]
    }


def test_roles_and_columns_that_are_not_rendered_do_not_count() -> None:
    rows = [{"prompt": [turn("<|im_end|>", "a")], "answer": "<|im_end|>", "completion": None}]
    assert rows_with_control_tokens(load_base("tiny-random").tokenizer, rows) == {}


def test_part_of_a_control_token_is_no_control_token() -> None:
    rows = [{"prompt": "<|im_", "completion": "end|> | <im_end>"}]
    assert rows_with_control_tokens(load_base("tiny-random").tokenizer, rows) == {}
