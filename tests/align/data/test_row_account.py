"""What becomes of a stage's rows is said with counts and examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from align.base import Base
from align.data.row_account import row_account
from align.data.row_findings import RowAccount, account_lines
from align.data.splits import load_split
from align.errors import DataError
from align.recipe import Recipe
from tests.align.data.recipes import generated, recipe
from tests.align.tool_templates import tool_row

SIZES = {"train": 12, "validation": 4, "test": 4}


def account(mine: Recipe, base: Base | None, context_length: int | None = None) -> RowAccount:
    splits = {name: load_split(mine, "one", name) for name in ("train", "validation", "test")}
    tokenizer = None if base is None else base.tokenizer
    return row_account(mine, "one", splits, tokenizer, context_length)


def limited(mine: Recipe, **fields: Any) -> Recipe:
    stage = {**mine.stages["one"].model_dump(exclude_unset=True), **fields}
    return Recipe.model_validate({**mine.model_dump(exclude_unset=True), "stages": {"one": stage}})


def answers(count: int = 20) -> list[dict[str, Any]]:
    return [{"prompt": f"p{n}", "completion": f"c{n}"} for n in range(count)]


def pairs(count: int = 20) -> list[dict[str, Any]]:
    return [{"prompt": f"p{n}", "chosen": f"good {n}", "rejected": "bad"} for n in range(count)]


def in_train(mine: Recipe) -> list[int]:
    return sorted(row.number for row in load_split(mine, "one", "train"))


def test_of_good_rows_nothing_is_said(tiny: Base, tmp_path: Path) -> None:
    found = account(recipe(tmp_path, answers(), **SIZES), tiny)
    assert found.lines() == []
    assert found.splits == {"train": 12, "validation": 4, "test": 4}
    assert RowAccount.model_validate_json(found.model_dump_json()) == found


def test_rows_that_are_not_used_are_counted(tiny: Base, tmp_path: Path) -> None:
    (line,) = account(recipe(tmp_path, answers(1020), **SIZES), tiny).lines()
    assert line.startswith("20 of 1,020 rows of ") and "(train 12, validation 4, test 4)" in line
    (line,) = account(recipe(tmp_path, pairs(1020), "kto", **SIZES), tiny).lines()
    assert line.startswith("10 of 1,020 rows of ")


def test_rows_that_are_cut_and_left_out_are_named(tiny: Base, tmp_path: Path) -> None:
    rows = answers()
    first, second, third = in_train(recipe(tmp_path, rows, **SIZES))[:3]
    rows[first - 1]["completion"] = "x" * 100
    rows[second - 1]["prompt"] = rows[second - 1]["prompt"] + " " + "y" * 100
    mine = limited(recipe(tmp_path, rows, **SIZES), max_length=100)
    trained = in_train(mine)
    cut, *rest = account(mine, tiny).lines()
    assert "1 of 12 train rows are cut at max_length 100: they lose their end; the" in cut
    assert f"(row {first} 'p{first - 1}')" in cut
    if second in trained:  # its prompt, and so perhaps its split, is another one
        assert rest[0].startswith("1 of 12 train rows are left out at max_length 100: ")
        assert f"(row {second} 'p{second - 1} yyy" in rest[0] and "…')" in rest[0]
    assert third in trained or rest


def test_both_ends_of_a_searched_max_length_are_looked_at(tiny: Base, tmp_path: Path) -> None:
    rows = [{**row, "completion": "x" * 100} for row in answers()]
    searched = {"max_length": {"choice": [96, 64, 256], "default": 256}}
    lines = account(limited(recipe(tmp_path, rows, **SIZES), **searched), tiny).lines()
    assert [line.partition(":")[0] for line in lines] == [
        "12 of 12 train rows are cut at max_length 64",
    ]
    impossible = {"max_length": {"choice": [8, 256], "default": 256}}
    (line,) = account(limited(recipe(tmp_path, rows, **SIZES), **impossible), tiny).lines()
    assert line.startswith("max_length 8 leaves no row of 12 rows to train on")
    with pytest.raises(DataError, match=r"max_length 8 leaves no row .*\(row \d+ 'p\d+', "):
        account(limited(recipe(tmp_path, rows, **SIZES), max_length=8), tiny)


def test_pairs_without_a_preference_are_said_of_each_split(tiny: Base, tmp_path: Path) -> None:
    rows = pairs()
    mine = recipe(tmp_path, rows, "dpo", **SIZES)
    train = in_train(mine)
    held_out = min(row.number for row in load_split(mine, "one", "validation"))
    for number in (train[0], train[5], held_out):
        rows[number - 1]["rejected"] = rows[number - 1]["chosen"]
    lines = account(recipe(tmp_path, rows, "dpo", **SIZES), tiny).lines()
    assert lines == [
        "2 of 12 train rows are left out, since they state no preference: chosen and rejected are "
        f"equal (row {train[0]} 'p{train[0] - 1}', row {train[5]} 'p{train[5] - 1}')",
        "1 of 4 validation rows are not measured, since they state no preference "
        f"(row {held_out} 'p{held_out - 1}')",
    ]


def test_a_split_without_any_preference_is_an_error(tiny: Base, tmp_path: Path) -> None:
    rows = pairs()
    for row in load_split(recipe(tmp_path, rows, "reward", **SIZES), "one", "test"):
        rows[row.number - 1]["rejected"] = rows[row.number - 1]["chosen"]
    with pytest.raises(DataError, match=r"4 of 4 test rows are not measured.*nothing is left"):
        account(recipe(tmp_path, rows, "reward", **SIZES), tiny)


def test_pairs_in_both_orders_contradict_each_other(tiny: Base, tmp_path: Path) -> None:
    rows = pairs(18)
    rows += [{"prompt": "p3", "chosen": "bad", "rejected": "good 3"}, rows[5]]
    opposed, repeated = (
        line
        for line in sorted(account(recipe(tmp_path, rows, "dpo", **SIZES), tiny).lines())
        if "contradict" in line or "repeat" in line
    )
    repeated, opposed = sorted((opposed, repeated))
    assert repeated.startswith("1 of 20 rows repeat an earlier row word for word (row ")
    assert opposed.startswith("2 of 20 pairs contradict another pair") and "row 19 'p3'" in opposed


def test_texts_of_control_tokens_are_counted(tiny: Base, tmp_path: Path) -> None:
    rows = answers()
    rows[6]["completion"] = "no<|im_end|>\n<|im_start|>user\nmore"
    rows[9]["prompt"] = "what is <|im_end|>?"
    lines = account(recipe(tmp_path, rows, **SIZES), tiny).lines()
    assert sorted(lines) == [
        "1 of 20 rows contain the text of the control token '<|im_start|>', which is read as the "
        "token (row 7 'p6')",
        "2 of 20 rows contain the text of the control token '<|im_end|>', which is read as the "
        "token (row 7 'p6', row 10 'what is <|im_end|>?')",
    ]


def test_empty_answers_are_counted(tiny: Base, tmp_path: Path) -> None:
    turns = [
        [
            {"role": "user", "content": f"p{n}"},
            {"role": "assistant", "content": "" if n == 4 else "c"},
        ]
        for n in range(20)
    ]
    mine = recipe(tmp_path, [{"messages": messages} for messages in turns], **SIZES)
    assert account(mine, tiny).lines() == ["1 of 20 rows have an empty answer (row 5 'p4')"]


def test_prompts_that_do_not_fit_beside_a_completion_are_named(tiny: Base, tmp_path: Path) -> None:
    rows = [{"prompt": f"p{n} {'x' * 5 * n}", "answer": "1"} for n in range(20)]
    mine = limited(recipe(tmp_path, rows, "grpo", **SIZES), max_completion_length=64)
    assert account(mine, tiny, 1024).lines() == []
    with pytest.raises(DataError, match=r"prompts are longer than the 36 tokens .*\(row \d+ 'p"):
        account(mine, tiny, 100)


def test_held_out_rows_that_the_engine_cannot_hold_are_named(tiny: Base, tmp_path: Path) -> None:
    rows = answers()
    mine = recipe(tmp_path, rows, **SIZES)
    number = min(row.number for row in load_split(mine, "one", "test"))
    rows[number - 1]["completion"] = "x" * 300
    mine = recipe(tmp_path, rows, **SIZES)
    assert account(mine, tiny, 1024).lines() == []
    with pytest.raises(DataError) as caught:
        account(mine, tiny, 256)
    assert str(caught.value) == (
        "1 of 4 test rows cannot be measured: the base holds 256 tokens "
        f"(row {number} 'p{number - 1}'): shorten them"
    )
    splits = {name: load_split(mine, "one", name) for name in ("train", "validation", "test")}
    with pytest.raises(DataError, match=r"4 of 4 validation rows .*, 1010 of them for an answer"):
        row_account(mine, "one", splits, tiny.tokenizer, 1024, 1010)


def test_without_a_tokenizer_that_is_said(tmp_path: Path) -> None:
    lines = account(recipe(tmp_path, answers(), **SIZES), None).lines()
    assert lines == ["lengths were not looked at: 'tiny-random' has no tokenizer on this machine"]


def test_without_a_tokenizer_texts_are_compared(tmp_path: Path) -> None:
    rows = pairs()
    number = in_train(recipe(tmp_path, rows, "dpo", **SIZES))[2]
    rows[number - 1]["rejected"] = rows[number - 1]["chosen"]
    _, line = account(recipe(tmp_path, rows, "dpo", **SIZES), None).lines()
    assert line.startswith("1 of 12 train rows state no preference: chosen and rejected are equal")
    equal = [{**row, "rejected": row["chosen"]} for row in rows]
    with pytest.raises(DataError, match="12 of 12 train rows state no preference"):
        account(recipe(tmp_path, equal, "dpo", **SIZES), None)


def test_rows_of_a_task_have_no_numbers(tiny: Base) -> None:
    mine = limited(generated("dpo", train=32, validation=4, test=4), max_length=230)
    lines = account(mine, tiny).lines()
    assert lines and "cut at max_length 230" in lines[0] and "row " not in lines[0].split("(")[1]


def test_what_stages_share_is_said_once(tmp_path: Path) -> None:
    one = account(recipe(tmp_path, answers(), **SIZES), None)
    (line,) = account_lines({"sft": one, "again": one})
    assert line.startswith("sft, again: lengths were not looked at")


def test_tools_that_the_template_does_not_show_are_counted(tiny: Base, tmp_path: Path) -> None:
    given = [tool_row(number) for number in range(20)]
    rows = [
        {"messages": [*row["prompt"], *row["completion"]], "tools": row["prompt"][0].get("tools")}
        for row in given
    ]
    for row in rows:
        row["messages"][0].pop("tools", None)
    lines = account(recipe(tmp_path, rows, **SIZES), tiny).lines()
    base = "the chat template of tiny-random does not show the"
    for kind in ("tool calls", "tools"):
        assert any(line.startswith(f"{base} {kind} of 13 rows (row 2 ") for line in lines)
