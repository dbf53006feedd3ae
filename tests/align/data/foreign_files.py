"""Files in the forms that people bring: a row of each form for a question's number."""

import json
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]
BRIEF = "Answer in one sentence."
CALL = {"name": "add", "arguments": {"a": 2, "b": 3}}
OPENAI_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "add", "arguments": json.dumps(CALL["arguments"])},
}
TOOL = {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {}}}
GOOD, BAD = "The sum is {}.", "I do not know {}."


def question(number: int) -> str:
    return f"What is {number} plus 3?"


def good(number: int) -> str:
    return GOOD.format(number + 3)


def bad(number: int) -> str:
    return BAD.format(number + 3)


def human(number: int, **message: Any) -> list[Row]:
    return [{"from": "human", "value": question(number)}, *([message] if message else [])]


def user(number: int) -> Row:
    return {"role": "user", "content": question(number)}


def said(text: str, **others: Any) -> Row:
    return {"role": "assistant", "content": text, **others}


def transcript(number: int, answer: str) -> str:
    return (
        f"\n\nHuman: Hello.\n\nAssistant: Hi.\n\nHuman: {question(number)}\n\nAssistant: {answer}"
    )


def rated(number: int, *ratings: Any) -> Row:
    answers = [bad(number), good(number), "Perhaps."][: len(ratings)]
    return {"instruction": question(number), "generations": answers, "ratings": list(ratings)}


#: A form's name, and its row for a number.
FORMS: dict[str, Callable[[int], Row]] = {
    "sharegpt": lambda n: {"conversations": [*human(n), {"from": "gpt", "value": good(n)}]},
    "sharegpt, names in any case": lambda n: {
        "conversation": [
            {"from": " Human ", "value": question(n)},
            {"from": "ChatGPT", "value": good(n)},
        ]
    },
    "sharegpt with system and tools": lambda n: {
        "system": BRIEF,
        "tools": json.dumps([TOOL]),
        "conversations": [
            *human(n),
            {"from": "function_call", "value": json.dumps(CALL)},
            {"from": "observation", "value": str(n + 3)},
            {"from": "gpt", "value": good(n)},
        ],
    },
    "sharegpt pairs": lambda n: {
        "conversations": human(n),
        "chosen": {"from": "gpt", "value": good(n)},
        "rejected": {"from": "gpt", "value": bad(n)},
    },
    "sharegpt with kto_tag": lambda n: {
        "conversations": [*human(n), {"from": "gpt", "value": good(n) if n % 2 else bad(n)}],
        "kto_tag": bool(n % 2),
    },
    "messages as json text": lambda n: {"messages": json.dumps([user(n), said(good(n))])},
    "messages with a developer": lambda n: {
        "messages": [{"role": "developer", "content": BRIEF}, user(n), said(good(n))]
    },
    "openai with tool calls": lambda n: {
        "messages": [
            user(n),
            {"role": "assistant", "content": None, "tool_calls": [OPENAI_CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": str(n + 3)},
            said(good(n)),
        ],
        "tools": [{"type": "function", "function": TOOL}],
        "parallel_tool_calls": False,
    },
    "openai with weights": lambda n: {
        "messages": [
            user(n),
            said(good(n), weight=1),
            {"role": "user", "content": "Sure?"},
            said("Er, no.", weight=0),
        ]
    },
    "openai with text parts": lambda n: {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": question(n)}]},
            {"role": "assistant", "content": [{"type": "text", "text": good(n)}]},
        ]
    },
    "openai preference": lambda n: {
        "input": {"messages": [user(n)], "tools": [], "parallel_tool_calls": True},
        "preferred_output": [said(good(n))],
        "non_preferred_output": [said(bad(n))],
    },
    "openai reinforcement": lambda n: {"messages": [user(n)], "reference_answer": str(n + 3)},
    "alpaca": lambda n: {"instruction": question(n), "input": "", "output": good(n)},
    "alpaca with input, system and history": lambda n: {
        "instruction": "Add the two numbers.",
        "input": f"{n} and 3",
        "output": good(n),
        "system": BRIEF,
        "history": [["Hello.", "Hi."]],
    },
    "alpaca pairs": lambda n: {
        "instruction": question(n),
        "input": "",
        "chosen": good(n),
        "rejected": bad(n),
    },
    "dolly": lambda n: {
        "instruction": question(n),
        "context": "Sums.",
        "response": good(n),
        "category": "sums",
    },
    "argilla's ratings": lambda n: rated(n, 1, 5, 3.0),
    "ultrafeedback's completions": lambda n: {
        "instruction": question(n),
        "completions": [
            {"response": bad(n), "overall_score": 2.0, "model": "x"},
            {"response": good(n), "overall_score": 8.5, "model": "y"},
        ],
    },
    "argilla's rated pairs": lambda n: {
        "prompt": question(n),
        "chosen": [user(n), said(good(n))],
        "chosen-rating": 5.0,
        "rejected": [user(n), said(bad(n))],
        "rejected-rating": 2.0,
    },
    "hh-rlhf": lambda n: {
        "chosen": transcript(n, good(n)),
        "rejected": transcript(n, bad(n)),
    },
    "thumbs": lambda n: {
        "prompt": question(n),
        "completion": good(n) if n % 2 else bad(n),
        "thumbs": "\N{THUMBS UP SIGN}" if n % 2 else "\N{THUMBS DOWN SIGN}",
    },
    "feedback": lambda n: {
        "prompt": question(n),
        "completion": good(n) if n % 2 else bad(n),
        "feedback": "Desirable" if n % 2 else "undesirable",
    },
    "votes": lambda n: {
        "prompt": question(n),
        "completion": good(n) if n % 2 else bad(n),
        "rating": "+1" if n % 2 else "-1",
    },
    "system beside a prompt": lambda n: {
        "prompt": question(n),
        "completion": good(n),
        "system": BRIEF if n % 2 else None,
    },
}  # fmt: skip


def rows_of(form: str, count: int = 16) -> list[Row]:
    return [FORMS[form](number) for number in range(count)]
