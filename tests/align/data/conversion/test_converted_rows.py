"""Rows in the forms that people bring are read as they mean it, or refused with their place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from align.data.conversion.converted_rows import convert
from align.data.formats import inspect_file
from align.data.splits import load_split
from align.errors import DataError
from tests.align.data.conversations import jsonl
from tests.align.data.foreign_files import (
    BRIEF,
    CALL,
    FORMS,
    TOOL,
    Row,
    bad,
    good,
    human,
    question,
    rows_of,
    said,
    transcript,
    user,
)
from tests.align.data.recipes import recipe

#: The methods that `recipe new` drafts for a form.
DRAFTS = {
    **dict.fromkeys(FORMS, ("sft",)),
    **dict.fromkeys(
        (
            "sharegpt pairs", "openai preference", "alpaca pairs", "argilla's ratings",
            "ultrafeedback's completions", "argilla's rated pairs", "hh-rlhf",
        ),
        ("reward", "dpo"),
    ),
    **dict.fromkeys(("sharegpt with kto_tag", "thumbs", "feedback", "votes"), ("kto",)),
    "openai reinforcement": ("grpo",),
}  # fmt: skip
#: Forms whose prompt is more than the question.
SYSTEM = {"role": "system", "content": BRIEF}


def loaded(folder: Path, rows: list[Row], method: str) -> list[Row]:
    """All rows of a stage's splits, in the order of the file."""
    mine = recipe(folder, rows, method, train=len(rows) - 4)
    splits = [load_split(mine, "one", split) for split in ("train", "validation", "test")]
    return sorted((row for split in splits for row in split), key=lambda row: asked(row)[1])


def asked(row: Row) -> tuple[str, int]:
    """A row's last question, and the first number in it."""
    text = str(row["prompt"][-1]["content"])
    return text, int("".join(filter(str.isdigit, text.split(" plus ")[0])) or 0)


@pytest.mark.parametrize("form", FORMS)
def test_a_form_drafts_the_stages_that_it_can_train(tmp_path: Path, form: str) -> None:
    findings = inspect_file(jsonl(tmp_path / "data.jsonl", rows_of(form)))
    assert (findings.methods, findings.rows, findings.notes) == (DRAFTS[form], 16, ())


@pytest.mark.parametrize("form", [form for form, drafts in DRAFTS.items() if drafts == ("sft",)])
def test_an_answer_is_trained_after_its_question(tmp_path: Path, form: str) -> None:
    for row in loaded(tmp_path, rows_of(form), "sft"):
        answer = row["completion"][-1]["content"]
        questions = [turn["content"] for turn in row["prompt"] if turn["role"] == "user"]
        number = next(n for n in range(16) if good(n) == answer)
        assert str(number) in questions[-1]
        assert {turn["role"] for turn in row["prompt"]} <= {"system", "user", "assistant", "tool"}
        assert all(isinstance(turn["content"], str) for turn in row["prompt"])


@pytest.mark.parametrize(
    "form", [form for form, drafts in DRAFTS.items() if drafts == ("reward", "dpo")]
)
@pytest.mark.parametrize("method", ["reward", "dpo", "orpo", "kto"])
def test_pairs_train_every_method_of_preferences(tmp_path: Path, form: str, method: str) -> None:
    found = loaded(tmp_path, rows_of(form), method)
    for row in found:
        number = asked(row)[1]
        if method == "kto":
            expected = good(number) if row["label"] else bad(number)
            assert row["completion"] == [{"role": "assistant", "content": expected}]
        else:
            assert row["chosen"] == [{"role": "assistant", "content": good(number)}]
            assert row["rejected"] == [{"role": "assistant", "content": bad(number)}]
        assert asked(row)[0] == question(number)


@pytest.mark.parametrize("form", [form for form, drafts in DRAFTS.items() if drafts == ("kto",)])
def test_thumbs_train_kto_and_are_not_imitated(tmp_path: Path, form: str) -> None:
    for row in loaded(tmp_path, rows_of(form), "kto"):
        number = asked(row)[1]
        assert row["label"] is bool(number % 2)
        assert row["completion"][0]["content"] == (good if row["label"] else bad)(number)
    with pytest.raises(DataError, match="is false, and sft would imitate"):
        loaded(tmp_path, rows_of(form), "sft")


def test_reinforcement_rows_have_a_prompt_and_an_answer(tmp_path: Path) -> None:
    for row in loaded(tmp_path, rows_of("openai reinforcement"), "grpo"):
        assert row["answer"] == str(asked(row)[1] + 3)
        assert row["prompt"] == [user(asked(row)[1])]


@pytest.mark.parametrize("given", [BRIEF, None, "", " "])
def test_a_system_column_is_the_first_turn_where_it_has_text(given: str | None) -> None:
    turns = [*human(1), {"from": "gpt", "value": good(1)}]
    rows = {1: {"conversations": turns, "system": BRIEF}, 2: {"conversations": turns}}
    rows[2]["system"] = given
    table = convert("data.jsonl", rows)
    assert table.rows[1]["messages"][0] == SYSTEM
    assert (table.rows[2]["messages"][0] == SYSTEM) is (given == BRIEF)


def test_a_rows_own_system_turn_stands(tmp_path: Path) -> None:
    own = {"role": "system", "content": "Be long."}
    row = {"messages": [own, user(1), said(good(1))], "system": BRIEF}
    assert convert("data.jsonl", {1: row}).rows[1]["messages"][:2] == [own, user(1)]


def test_a_system_column_goes_before_text_and_pairs() -> None:
    rows: list[Row] = [
        {"prompt": question(1), "completion": "4"},
        {"prompt": question(1), "chosen": "4", "rejected": "5"},
        {"chosen": [user(1), said("4")], "rejected": [user(1), said("5")]},
    ]
    for row in rows:
        found = convert("data.jsonl", {1: {**row, "system": BRIEF}}).rows[1]
        begins = [found["prompt"]] if "prompt" in row else [found["chosen"], found["rejected"]]
        assert all(turns[:2] == [SYSTEM, user(1)] for turns in begins)


@pytest.mark.parametrize("form", ["sharegpt with system and tools", "openai with tool calls"])
def test_tools_and_their_calls_reach_the_template(tmp_path: Path, form: str) -> None:
    for row in loaded(tmp_path, rows_of(form), "sft"):
        (tool,) = json.loads(row["prompt"][0]["tools"])
        assert (tool["type"], tool["function"]["name"]) == ("function", "add")
        (turn,) = [turn for turn in row["prompt"] if turn.get("tool_calls")]
        assert turn["tool_calls"][0]["function"] == CALL
        assert turn["content"] == ""
        assert row["prompt"][-1]["role"] == "tool"


@pytest.mark.parametrize("tools", [None, [], "", "[]"])
def test_rows_without_tools_have_none(tools: Any) -> None:
    rows = {1: {"messages": [user(1), said("4")], "tools": tools}}
    assert not convert("data.jsonl", rows).rows[1]["tools"]


def test_messages_in_trls_form_are_left_as_they_are() -> None:
    turns = [{**user(1), "name": None}, said("4", tool_calls=None)]
    assert convert("data.jsonl", {1: {"messages": turns}}).rows[1]["messages"] == turns


@pytest.mark.parametrize("form", ["sharegpt", "alpaca", "openai with text parts"])
@pytest.mark.parametrize("classes", [("math", "art"), (3, 4), (1, 7)])
def test_a_class_named_label_is_no_label(
    tmp_path: Path, form: str, classes: tuple[Any, Any]
) -> None:
    rows = [{**row, "label": classes[n % 2]} for n, row in enumerate(rows_of(form))]
    findings = inspect_file(jsonl(tmp_path / "data.jsonl", rows))
    assert (findings.methods, findings.ignored) == (("sft",), ("label",))


@pytest.mark.parametrize("values", [(True, False), (-1, 0), ("up", "meh")])
@pytest.mark.parametrize(
    "row", [{"chosen": "4", "rejected": "5"}, {"answer": "4"}, {"text": "prose"}]
)
def test_a_judgement_without_an_answer_is_a_column_like_others(
    row: Row, values: tuple[Any, Any]
) -> None:
    rows = {n: {"prompt": question(n), **row, "feedback": values[n]} for n in range(2)}
    assert convert("data.jsonl", rows).rows == rows


@pytest.mark.parametrize("column", ["label", "thumbs", "rating"])
def test_answers_that_are_all_good_are_imitated(tmp_path: Path, column: str) -> None:
    rows = [{"prompt": question(n), "completion": good(n), column: 1} for n in range(16)]
    assert inspect_file(jsonl(tmp_path / "data.jsonl", rows)).methods == ("sft",)
    assert loaded(tmp_path, rows, "sft")[0]["completion"] == [said(good(0))]
    with pytest.raises(DataError, match="every label is false; kto needs good and bad answers"):
        inspect_file(jsonl(tmp_path / "bad.jsonl", [{**row, column: 0} for row in rows]))


@pytest.mark.parametrize("text", ["[" * 100_000, f"[{'1' * 5_000}]", "[1, 2"])
def test_text_that_json_cannot_hold_is_named_with_its_row(tmp_path: Path, text: str) -> None:
    rows = rows_of("sharegpt")
    rows[4] = {"conversations": text}
    with pytest.raises(DataError, match="row 5: column 'conversations' must be a list of messages"):
        inspect_file(jsonl(tmp_path / "data.jsonl", rows))


@pytest.mark.parametrize("column", ["messages", "conversations", "prompt"])
def test_tools_within_a_message_are_the_rows(tmp_path: Path, column: str) -> None:
    system = {**SYSTEM, "tools": [TOOL]}
    turns = [system, user(1), *([] if column == "prompt" else [said("4")])]
    row = {column: turns, **({"completion": "4"} if column == "prompt" else {})}
    rows = [json.loads(json.dumps(row).replace(question(1), question(n))) for n in range(16)]
    for found in loaded(tmp_path, rows, "sft"):
        (tool,) = json.loads(found["prompt"][0]["tools"])
        assert tool["function"]["name"] == "add"
    without = {1: {"messages": [{**user(1), "tools": None}, said("4")]}}
    assert convert("data.jsonl", without).rows == without


@pytest.mark.parametrize("values", ["sin", ["sin", "cos"]])
def test_functions_are_tools_where_they_are_lists_of_them(values: Any) -> None:
    rows = {1: {"prompt": "p", "completion": "c", "functions": values}}
    if isinstance(values, str):
        assert convert("data.jsonl", rows).rows == rows
    else:
        with pytest.raises(DataError, match="column 'functions' holds a tool without a function's"):
            convert("data.jsonl", rows)


def test_system_text_of_pairs_without_a_prompt_is_not_dropped(tmp_path: Path) -> None:
    begins = [f"{question(n)} It is " for n in range(16)]
    rows: list[Row] = [{"chosen": f"{text}4", "rejected": f"{text}5"} for text in begins]
    assert len(loaded(tmp_path, [{**row, "system": None} for row in rows], "dpo")) == 16
    rows[1]["system"] = BRIEF
    with pytest.raises(DataError, match=r"row 2: column 'system' belongs before a prompt, .*; got"):
        inspect_file(jsonl(tmp_path / "data.jsonl", rows))


def test_messages_as_json_text_are_messages_and_as_python_prints_them_refused() -> None:
    turns = {"prompt": [user(1)], "chosen": [said("4")], "rejected": [said("5")]}
    written = {column: json.dumps(value) for column, value in turns.items()}
    assert convert("data.csv", {1: written, 2: written}).rows[2] == turns
    printed = {column: repr(value) for column, value in turns.items()}
    with pytest.raises(DataError, match=r"rows 1, 2: column 'prompt' holds the text of messages"):
        convert("data.csv", {1: printed, 2: printed})
    for text in ('{"from": "Bonn", "to": "Rome"}', '[{"role": "king"}]', '[{"value": 3}]'):
        rows = {1: {"prompt": question(1), "completion": text}}
        assert convert("data.csv", rows).rows == rows
    mixed = {1: written, 2: {**written, "prompt": question(1)}}
    assert convert("data.csv", mixed).rows[1]["prompt"] == written["prompt"]


def test_a_message_alone_is_an_answer() -> None:
    rows = {1: {"prompt": question(1), "chosen": said("4"), "rejected": said("5")}}
    row = convert("data.jsonl", rows).rows[1]
    assert (row["chosen"], row["rejected"]) == ([said("4")], [said("5")])


@pytest.mark.parametrize("column", ["messages", "conversations"])
@pytest.mark.parametrize("prompt", [{}, {"prompt": question(1)}])
def test_a_conversation_beside_whole_pairs_trains_sft_too(
    tmp_path: Path, column: str, prompt: Row
) -> None:
    rows = [
        {column: [user(n), said("4")], "chosen": [user(n), said("4")]}
        | {"rejected": [user(n), said("5")]}
        | ({"prompt": question(n)} if prompt else {})
        for n in range(16)
    ]
    findings = inspect_file(jsonl(tmp_path / "data.jsonl", rows))
    assert findings.methods == ("sft", "reward", "dpo")


def test_exchanges_are_two_messages_each() -> None:
    exchange = {"input": question(1), "output": "4"}
    rows = {1: {"conversation": [exchange, {"input": "Sure?", "output": "Yes."}]}}
    turns = convert("data.jsonl", rows).rows[1]["messages"]
    assert turns[:2] == [user(1), said("4")]
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2


def test_an_answer_of_weight_0_is_not_trained_on() -> None:
    turns = [user(1), said("4", weight=1), user(2), said("no", weight=0)]
    row = convert("data.jsonl", {1: {"messages": turns}}).rows[1]
    assert row["messages"] == [user(1), said("4")]


#: A file with rows of a form, of which the fifth is changed; and what is said.
BROKEN: list[tuple[str, Callable[[int], Row], str]] = [
    (
        "sharegpt",
        lambda n: {"conversations": [*human(n), {"from": "narrator", "value": "x"}]},
        r"row 5: column 'conversations' holds a message with an unknown role; .*; got 'narrator'",
    ),
    (
        "sharegpt",
        lambda n: {"conversations": human(n)},
        "row 5: column 'conversations' must end with the assistant's turn; .*; got 'user'",
    ),
    (
        "sharegpt",
        lambda n: {"conversations": [*human(n), {"from": "gpt", "value": None}]},
        "row 5: column 'conversations' holds a message without content, .*; got None",
    ),
    (
        "sharegpt",
        lambda n: {"conversations": "What?"},
        "row 5: column 'conversations' must be a list of messages; got 'What\\?'",
    ),
    (
        "sharegpt",
        lambda n: {"conversations": [*human(n), "The sum."]},
        "row 5: column 'conversations' holds a message that is no object; got 'The sum.'",
    ),
    (
        "sharegpt",
        lambda n: {"conversations": [{"value": "x"}]},
        "row 5: column 'conversations' holds a message with no role; .*; got {'value': 'x'}",
    ),
    (
        "sharegpt with system and tools",
        lambda n: {"conversations": [*human(n), {"from": "function_call", "value": "add(2, 3)"}]},
        r"row 5: column 'conversations' holds a tool call that is no JSON .*; got 'add\(2, 3\)'",
    ),
    (
        "sharegpt with system and tools",
        lambda n: {"tools": "add, subtract"},
        "row 5: column 'tools' must be a list of tools, or JSON text of it; got 'add, subtract'",
    ),
    (
        "sharegpt with system and tools",
        lambda n: {"system": 7},
        "row 5: column 'system' must be text; got 7",
    ),
    (
        "sharegpt with kto_tag",
        lambda n: {"kto_tag": "meh"},
        "row 5: column 'kto_tag' must be true or false .*; got 'meh'",
    ),
    (
        "openai with tool calls",
        lambda n: {"messages": [user(n), {"role": "assistant", "content": None}]},
        "row 5: column 'messages' holds a message without content",
    ),
    (
        "openai with text parts",
        lambda n: {"messages": [{"role": "user", "content": [{"type": "image_url"}]}, said("x")]},
        "row 5: column 'messages' holds a part that is no text; only text .*; got 'image_url'",
    ),
    (
        "openai with weights",
        lambda n: {"messages": [user(n), said("x", weight=0)]},
        "row 5: column 'messages': every answer has weight 0",
    ),
    (
        "openai with weights",
        lambda n: {"messages": [user(n), said("x", weight=0.5)]},
        "row 5: column 'messages': a message's weight must be 0 or 1; got 0.5",
    ),
    (
        "openai preference",
        lambda n: {"input": "What?"},
        "row 5: column 'input' must be an object with messages; got 'What\\?'",
    ),
    (
        "openai preference",
        lambda n: {"preferred_output": []},
        r"row 5: column 'preferred_output' is empty; got \[\]",
    ),
    (
        "openai reinforcement",
        lambda n: {"reference_answer": {"x": 1}},
        "row 5: column 'reference_answer' must be text or a number; got {'x': 1}",
    ),
    ("alpaca", lambda n: {"output": " "}, "row 5: column 'output' is empty; got ' '"),
    ("alpaca", lambda n: {"instruction": None}, "row 5: column 'instruction' is empty; got None"),
    (
        "alpaca with input, system and history",
        lambda n: {"history": [["Hello."]]},
        r"row 5: column 'history' must be a list of \[question, answer\] pairs; got \['Hello.'\]",
    ),
    (
        "argilla's ratings",
        lambda n: {"ratings": [1, "great", 2]},
        "row 5: column 'ratings' holds a rating that is no number; got 'great'",
    ),
    (
        "argilla's ratings",
        lambda n: {"ratings": [1, 10**400, 2]},
        "row 5: column 'ratings' holds a rating that is no number; got 1000000",
    ),
    (
        "argilla's ratings",
        lambda n: {"ratings": [1, 2]},
        r"row 5: column 'generations' has 3 answers, and column 'ratings' another .*; got \[1, 2\]",
    ),
    (
        "argilla's rated pairs",
        lambda n: {"chosen-rating": 1.0},
        r"row 5: column 'rejected-rating' rates the rejected .* higher .*; got \(1.0, 2.0\)",
    ),
    (
        "hh-rlhf",
        lambda n: {"chosen": "No transcript."},
        "row 5: column 'chosen' must be a transcript as in other rows, .*; got 'No transcript.'",
    ),
    (
        "thumbs",
        lambda n: {"thumbs": "sideways"},
        "row 5: column 'thumbs' must be true or false .*; got 'sideways'",
    ),
    (
        "votes",
        lambda n: {"rating": "0"},
        "column 'rating' has both 0 and -1, so 0 may mean neither good nor bad",
    ),
    (
        "system beside a prompt",
        lambda n: {"image": "cat.png"},
        "row 5: column 'image' is not empty, and only text is trained on; .*; got 'cat.png'",
    ),
]


@pytest.mark.parametrize(("form", "change", "message"), BROKEN)
def test_a_broken_row_is_named_with_its_own_column_and_value(
    tmp_path: Path, form: str, change: Callable[[int], Row], message: str
) -> None:
    rows = rows_of(form)
    rows[4] |= change(4)
    path = jsonl(tmp_path / "data.jsonl", rows)
    with pytest.raises(DataError, match=message) as caught:
        inspect_file(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("form", "change", "note"),
    [
        ("argilla's ratings", {"ratings": [3, 3.0, "3"]}, "have equal ratings, which give no pair"),
        ("argilla's ratings", {"ratings": [None, "N/A", 5]}, "have fewer than two rated answers"),
        ("argilla's rated pairs", {"chosen-rating": 2}, "have equal ratings, which give no pair"),
        ("hh-rlhf", {"chosen": transcript(4, "")}, "have a transcript in 'chosen' that ends"),
        (
            "hh-rlhf",
            {"chosen": "\n\nHuman: Something else.\n\nAssistant: Yes."},
            "have transcripts that differ before the last answer",
        ),
    ],
)
def test_rows_without_a_preference_are_left_out_and_counted(
    tmp_path: Path, form: str, change: Row, note: str
) -> None:
    rows = rows_of(form)
    rows[4] |= change
    findings = inspect_file(jsonl(tmp_path / "data.jsonl", rows))
    (said_once,) = findings.notes
    assert said_once.startswith(f"1 of 16 rows {note}") and said_once.endswith(": row 5")
    assert findings.rows == 15
    with pytest.raises(DataError, match="no row is left: 1 of 1 rows"):
        inspect_file(jsonl(tmp_path / "data.jsonl", [rows[4]]))
