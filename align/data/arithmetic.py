"""The built-in task: word problems and expressions with right and wrong worked solutions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from align.data.problems import Problem, Split, Step, problems

__all__ = ["Problem", "Split", "Step", "problems"]


def right(problem: Problem, style: str) -> str:
    """The worked solution in a style: `concise` or `rambling`."""
    return _write([step.value for step in problem.steps], problem.steps, style)


def wrong(problem: Problem, rng: random.Random, style: str) -> str:
    """A solution in a style (`concise`, `rambling` or `bare`) that ends in a wrong number.

    A single step is wrong: its result or its operation. Later steps are computed from it, as a
    person would.
    """
    for _ in range(50):
        steps, values = list(problem.steps), [step.value for step in problem.steps]
        index = rng.randrange(len(steps))
        if rng.random() < 0.4:
            op = rng.choice([op for op in "+-*" if op != steps[index].op])
            steps[index] = Step(steps[index].note, steps[index].a, op, steps[index].b)
            values[index] = steps[index].value
        else:
            values[index] += rng.choice((-10, -3, -2, -1, 1, 2, 3, 10))
        for later in range(index + 1, len(steps)):
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
    # The padding follows the answer, so that the worked steps are the same without it.
    padding = "" if style == "concise" else " That is how it comes out, and no more is left to do."
    return f"{worked} {end}{padding}"


def sft_row(problem: Problem, rng: random.Random) -> dict[str, Any]:
    """A prompt and its worked solution; 60 % ramble, as demonstrations by people do."""
    style = "rambling" if rng.random() < 0.6 else "concise"
    return {
        "prompt": asked(problem),
        "completion": _assistant(right(problem, style)),
        "answer": str(problem.answer),
    }


def pair_row(problem: Problem, rng: random.Random) -> dict[str, Any]:
    """A chosen and a rejected answer; `kind` says how they differ.

    Half of the pairs are a right and a wrong answer in the same style, so of about the same length.
    A quarter prefer a concise right answer to a rambling right answer, a quarter a worked right
    answer to a bare wrong answer: in these the longer answer loses as often as it wins.
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


def labelled_row(problem: Problem, rng: random.Random) -> dict[str, Any]:
    """A single answer with its label; `kind` is `right`, `wrong` or `rambling`.

    Half of the answers are right and concise, labelled true. A third are wrong, in any style, and a
    sixth are right but rambling: both are labelled false.
    """
    draw, style = rng.random(), rng.choice(("concise", "concise", "rambling", "bare"))
    if draw < 1 / 2:
        kind, text = "right", right(problem, "concise")
    elif draw < 5 / 6:
        kind, text = "wrong", wrong(problem, rng, style)
    else:
        kind, text = "rambling", right(problem, "rambling")
    return {
        "prompt": asked(problem),
        "completion": _assistant(text),
        "label": kind == "right",
        "answer": str(problem.answer),
        "kind": kind,
    }


def prompt_row(problem: Problem, rng: random.Random) -> dict[str, Any]:
    """A prompt with its right answer."""
    return {"prompt": asked(problem), "answer": str(problem.answer)}


def asked(problem: Problem) -> list[dict[str, str]]:
    """The problem's question as a user's turn."""
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
