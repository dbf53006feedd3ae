"""The built-in task: seeded word problems and expressions with worked solutions.

Every problem belongs to one split by the hash of its text, whatever seed it came from, so no
problem of one split can turn up in another.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

Split = Literal["train", "validation", "test", "live"]
#: Tenths of all problems: `live` is what simulated users ask.
SPLITS: tuple[Split, ...] = (
    "train", "train", "train", "train", "train", "train", "validation", "test", "test", "live",
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One computation: `note` says what it is for, `a op b` is what is computed."""

    note: str
    a: int
    op: str
    b: int

    @property
    def value(self) -> int:
        """The right result."""
        return compute(self.a, self.op, self.b)


@dataclass(frozen=True)
class Problem:
    """A question and its steps in order; each uses the result of the one before."""

    question: str
    steps: tuple[Step, ...]

    @property
    def answer(self) -> int:
        """The right answer."""
        return self.steps[-1].value

    @property
    def split(self) -> Split:
        """The one split that this problem belongs to."""
        return SPLITS[hashlib.sha256(self.question.encode()).digest()[0] % len(SPLITS)]


def compute(a: int, op: str, b: int) -> int:
    """`a op b` for + - * /; divisions come out even by construction."""
    return {"+": a + b, "-": a - b, "*": a * b, "/": a // b if b else 0}[op]


NAMES = (
    "Ana", "Ben", "Chloe", "Dev", "Emma", "Finn", "Grace", "Hugo",
    "Ivy", "Jack", "Kira", "Leo", "Maya", "Noah", "Olga", "Paul",
)  # fmt: skip
THINGS = (
    "apples", "books", "cards", "coins", "marbles",
    "pencils", "shells", "stamps", "stickers", "tickets",
)  # fmt: skip


def problems(seed: int, split: Split) -> Iterator[Problem]:
    """Endless distinct problems of a split, the same for the same seed."""
    rng = random.Random(f"arithmetic {seed}")
    seen: set[str] = set()
    while True:
        problem = _draw(rng)
        if problem.split == split and problem.question not in seen:
            seen.add(problem.question)
            yield problem


def _draw(rng: random.Random) -> Problem:
    name, other = rng.sample(NAMES, 2)
    thing = rng.choice(THINGS)
    return rng.choice(_TEMPLATES)(rng, name, other, thing)


def _boxes(rng: random.Random, name: str, other: str, thing: str) -> Problem:
    boxes, each = rng.randint(2, 9), rng.randint(3, 12)
    given = rng.randint(2, boxes * each - 2)
    return Problem(
        f"{name} buys {boxes} boxes with {each} {thing} in each box. "
        f"{name} gives {given} {thing} to {other}. How many {thing} does {name} have left?",
        (
            Step("Bought", boxes, "*", each),
            Step("Left", boxes * each, "-", given),
        ),
    )


def _gain(rng: random.Random, name: str, other: str, thing: str) -> Problem:
    start, more, lost = rng.randint(12, 60), rng.randint(5, 30), rng.randint(3, 12)
    return Problem(
        f"{name} has {start} {thing}. {other} gives {name} {more} more, and then {name} loses "
        f"{lost} of them. How many {thing} does {name} have now?",
        (
            Step("With the gift", start, "+", more),
            Step("After the loss", start + more, "-", lost),
        ),
    )


def _share(rng: random.Random, name: str, other: str, thing: str) -> Problem:
    friends, each, start = rng.randint(2, 8), rng.randint(2, 9), 0
    more = rng.randint(2, friends * each - 1)
    start = friends * each - more
    return Problem(
        f"{name} has {start} {thing} and finds {more} more. {name} shares all of them equally "
        f"among {friends} friends. How many {thing} does each friend get?",
        (
            Step("All together", start, "+", more),
            Step("Each friend", start + more, "/", friends),
        ),
    )


def _price(rng: random.Random, name: str, other: str, thing: str) -> Problem:
    count, price = rng.randint(2, 9), rng.randint(2, 9)
    paid = rng.randint(count * price + 1, 100)
    return Problem(
        f"{name} buys {count} {thing} for {price} dollars each and pays with {paid} dollars. "
        f"How many dollars does {name} get back?",
        (
            Step("Cost", count, "*", price),
            Step("Change", paid, "-", count * price),
        ),
    )


def _work(rng: random.Random, name: str, other: str, thing: str) -> Problem:
    days, each, extra = rng.randint(3, 9), rng.randint(3, 11), rng.randint(4, 25)
    return Problem(
        f"{name} collects {each} {thing} every day for {days} days. {other} brings {extra} more. "
        f"How many {thing} are there in total?",
        (
            Step("Collected", days, "*", each),
            Step("In total", days * each, "+", extra),
        ),
    )


def _compare(rng: random.Random, name: str, other: str, thing: str) -> Problem:
    first, fewer = rng.randint(20, 60), rng.randint(3, 18)
    return Problem(
        f"{name} has {first} {thing}. {other} has {fewer} fewer than {name}. "
        f"How many {thing} do they have together?",
        (
            Step(f"{other} has", first, "-", fewer),
            Step("Together", first, "+", first - fewer),
        ),
    )


def _expression(rng: random.Random, name: str, other: str, thing: str) -> Problem:
    a, b, c = rng.randint(2, 12), rng.randint(2, 9), rng.randint(2, 40)
    plus = rng.random() < 0.5 or a * b <= c
    return Problem(
        f"What is {a} * {b} {'+' if plus else '-'} {c}?",
        (Step("First", a, "*", b), Step("Then", a * b, "+" if plus else "-", c)),
    )


_TEMPLATES = (_boxes, _gain, _share, _price, _work, _compare, _expression)


def right(problem: Problem, style: str) -> str:
    """The worked solution in a style: `concise` or `rambling`."""
    return _write([step.value for step in problem.steps], problem.steps, style)


def wrong(problem: Problem, rng: random.Random, style: str) -> str:
    """A solution in the given style (or `bare`) that ends in a wrong number.

    One step goes wrong: a slip of the result, or the wrong operation. What follows is computed
    from it, as a person would.
    """
    for _ in range(50):
        steps, values = list(problem.steps), [step.value for step in problem.steps]
        at = rng.randrange(len(steps))
        if rng.random() < 0.4:
            op = rng.choice([op for op in "+-*" if op != steps[at].op])
            steps[at] = Step(steps[at].note, steps[at].a, op, steps[at].b)
            values[at] = steps[at].value
        else:
            values[at] += rng.choice((-10, -3, -2, -1, 1, 2, 3, 10))
        for later in range(at + 1, len(steps)):
            step, before = problem.steps[later], problem.steps[later - 1].value
            a, b = (values[later - 1], step.b) if step.a == before else (step.a, values[later - 1])
            steps[later] = Step(step.note, a, step.op, b)
            values[later] = steps[later].value
        if values[-1] != problem.answer and min(values) >= 0 and max(values) < 1000:
            return _write(values, tuple(steps), style)
    return _write([*values[:-1], problem.answer + 1], problem.steps, style)


def _write(values: list[int], steps: tuple[Step, ...], style: str) -> str:
    end = f"The answer is {values[-1]}."
    if style == "bare":
        return end
    worked = " ".join(
        f"{step.note}: {step.a} {step.op} {step.b} = {value}."
        for step, value in zip(steps, values, strict=True)
    )
    # The padding comes after the answer, so that leaving it out changes nothing in the working.
    rest = "" if style == "concise" else " That is how it comes out, and no more is left to do."
    return f"{worked} {end}{rest}"


def sft_row(problem: Problem, rng: random.Random) -> dict[str, Any]:
    """Prompt and worked solution; six in ten ramble, as demonstrations by people do."""
    style = "rambling" if rng.random() < 0.6 else "concise"
    return {
        "prompt": asked(problem),
        "completion": _assistant(right(problem, style)),
        "answer": str(problem.answer),
    }


def pair_row(problem: Problem, rng: random.Random) -> dict[str, Any]:
    """A chosen and a rejected answer; `kind` says what tells them apart.

    Half differ in being right (same style, so about the same length). A quarter prefer a concise
    right answer to a rambling right one, a quarter a worked right answer to a bare wrong one:
    there the longer answer loses as often as it wins.
    """
    draw, style = rng.random(), rng.choice(("concise", "rambling"))
    if draw < 0.5:
        kind, chosen, rejected = "right_wrong", right(problem, style), wrong(problem, rng, style)
    elif draw < 0.75:
        kind, chosen, rejected = "concise", right(problem, "concise"), right(problem, "rambling")
    else:
        kind, chosen, rejected = "worked", right(problem, "concise"), wrong(problem, rng, "bare")
    return {
        "prompt": asked(problem),
        "chosen": _assistant(chosen),
        "rejected": _assistant(rejected),
        "answer": str(problem.answer),
        "kind": kind,
    }


def prompt_row(problem: Problem, rng: random.Random) -> dict[str, Any]:
    """A prompt with its checked answer."""
    return {"prompt": asked(problem), "answer": str(problem.answer)}


def asked(problem: Problem) -> list[dict[str, str]]:
    """The problem as a user's turn."""
    return [{"role": "user", "content": problem.question}]


def _assistant(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def few_shot(seed: int, count: int = 4) -> list[dict[str, str]]:
    """`count` worked examples of the training split as turns of a conversation."""
    stream = problems(seed, "train")
    turns = []
    for _ in range(count):
        problem = next(stream)
        turns += asked(problem) + _assistant(right(problem, "concise"))
    return turns


def expression_rows(seed: int, split: Split) -> Iterator[dict[str, Any]]:
    """The tutorial's prompts: `a op b` with 1-50 and + - *, each with its answer."""
    rng = random.Random(seed)
    seen: set[str] = set()
    while len(seen) < 3 * 50 * 50:
        text = f"{rng.randint(1, 50)} {rng.choice('+-*')} {rng.randint(1, 50)}"
        a, op, b = text.split()
        prompt = f"Solve this and end your reply with only the final number. {text} ="
        problem = Problem(prompt, (Step("", int(a), op, int(b)),))
        if text not in seen and problem.split == split:
            yield prompt_row(problem, rng)
        seen.add(text)
