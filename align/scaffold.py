"""Drafts a commented recipe for a user's data file."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from align.data.formats import MIN_PROMPTS, Findings
from align.errors import DataError, RecipeError
from align.methods import METHODS, MethodName
from align.methods.specification import Draft, Method
from align.suggestions import did_you_mean

#: Rows of an optimizer step.
BATCH = 8


@dataclass(frozen=True)
class Splits:
    """How many rows go to which split."""

    train: int
    validation: int
    test: int


def propose_splits(findings: Findings) -> Splits:
    """10 % of the rows for validation (at most 64), 15 % for test (at most 200), the rest to train.

    Rows with equal prompts stay in the same split, so the last prompt of a split may have more rows
    than fit: `train` is smaller by these. DataError if there are too few different prompts.
    """
    if findings.prompts < MIN_PROMPTS:
        raise DataError(
            f"{findings.path}: {findings.rows} rows with {findings.prompts} different prompts are "
            f"too few to train, compare and test on; at least {MIN_PROMPTS} are needed"
        )
    validation = min(64, max(1, findings.rows // 10))
    test = min(200, max(1, findings.rows * 15 // 100))
    lost = 2 * (findings.repeats - 1)
    return Splits(max(1, findings.rows - validation - test - lost), validation, test)


def recipe_name(path: Path) -> str:
    """The file's name as a recipe's name: lower case, digits, - and _."""
    name = re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-_")[:63]
    return name or "recipe"


def write_recipe(text: str, output: Path, force: bool = False) -> None:
    """Write a recipe's text. RecipeError if the file exists and `force` is not given."""
    if output.exists() and not force:
        raise RecipeError(f"{output} exists; name another file with --output, or add --force")
    if not output.parent.is_dir():
        raise RecipeError(f"{output.parent}: no such folder for the recipe")
    output.write_text(text, encoding="utf-8")


def draft_recipe(
    findings: Findings, name: str, base: str, output: Path, methods: Sequence[MethodName] = ()
) -> str:
    """The YAML text of a recipe with a stage for each of `methods`, by default the usual ones.

    The data path is relative if the file is in the folder of `output` or below. RecipeError if a
    method is unknown, DataError if the data cannot train it.
    """
    methods = _chosen(findings, methods)
    splits = propose_splits(findings)
    data, folder = findings.path.resolve(), output.resolve().parent
    data_path = data.relative_to(folder) if data.is_relative_to(folder) else data
    kinds = " and ".join(data_format.name for data_format in findings.formats)
    head = _HEAD.format(
        source=data.name,
        kinds=kinds,
        rows=findings.rows,
        prompts=findings.prompts,
        name=_scalar(name),
        description=_scalar(f"{', '.join(methods)} on {data.name}"),
        base=_scalar(base),
        path=_scalar(str(data_path)),
        columns=_columns(findings),
        output=output.name,
        train=splits.train,
        validation=splits.validation,
        test=splits.test,
        max_new_tokens=_answer_tokens(findings),
    )
    draft = Draft(
        methods=methods,
        answer_tokens=_answer_tokens(findings),
        checkable=any(METHODS[name].online for name in methods),
    )
    return head + "".join(_stage(name, draft, findings, splits) for name in draft.methods)


def _chosen(findings: Findings, methods: Sequence[MethodName]) -> tuple[MethodName, ...]:
    for name in methods:
        if name not in METHODS:
            near = did_you_mean(name, METHODS, before="; ") or f"; allowed: {', '.join(METHODS)}"
            raise RecipeError(f"no method '{name}'{near}")
        if name not in findings.trainable:
            raise DataError(
                f"{findings.path}: {name} cannot train on its columns "
                f"({', '.join(findings.columns)}); allowed: {', '.join(findings.trainable)}"
            )
    return tuple(name for name in METHODS if name in methods) or findings.methods


def _columns(findings: Findings) -> str:
    """The YAML line of `data.columns`, where the file's columns have other names than TRL's."""
    if not findings.mapping:
        return ""
    names = yaml.safe_dump(
        dict(findings.mapping),
        default_flow_style=True,
        width=math.inf,
        allow_unicode=True,
        sort_keys=False,
    )
    return f"  columns: {names.strip()}  # TRL's names and the file's; correct them if need be\n"


def _scalar(text: str) -> str:
    return yaml.safe_dump(text, width=math.inf, allow_unicode=True).splitlines()[0]


def _ladder(tokens: float, steps: tuple[int, ...]) -> int:
    return next((step for step in steps if step >= tokens), steps[-1])


def _answer_tokens(findings: Findings) -> int:
    """A limit of answer tokens, from a cautious three characters a token."""
    return _ladder(findings.answer_characters / 3 or 128, (64, 128, 256, 512))


def _row_tokens(findings: Findings) -> int:
    return _ladder(findings.characters / 3 + 32, (128, 256, 512, 768, 1024, 2048))


def _stage(name: MethodName, draft: Draft, findings: Findings, splits: Splits) -> str:
    method = METHODS[name]
    low, default, high = method.learning_rates
    steps = _steps(method, splits)
    body = _STAGE.format(
        method=name,
        title=method.title,
        links=_links(method, draft),
        low=low,
        default=default,
        high=high,
        own=method.draft_fields(draft),
        length=f"max_steps: {steps}" if method.online else "num_train_epochs: 1",
        batch=BATCH,
        max_length="" if method.online else f"    max_length: {_row_tokens(findings)}",
        objective=method.draft_objective(draft),
        sweep=_sweep(steps),
    )
    return "\n".join(line for line in body.splitlines() if line.strip()) + "\n"


def _links(method: Method, draft: Draft) -> str:
    """The YAML lines of a stage's parent and reward model."""
    lines = []
    parent = next((name for name in method.draft_parents if name in draft.methods), None)
    if parent:
        lines.append(f"    parent: {parent}  # starts from that stage's best adapter")
    if method.draft_judge and draft.judged:
        lines.append("    reward_model: reward")
    return "\n".join(lines)


def _steps(method: Method, splits: Splits) -> int:
    """Optimizer steps of an epoch; at most 60 where steps generate completions."""
    if method.online:
        return min(60, splits.train)
    return math.ceil(splits.train / BATCH)


def _sweep(steps: int) -> str:
    rungs = [steps // 4, steps // 2] if steps >= 8 else []
    stops = "poor trials stop at these steps" if rungs else "too few steps to stop early"
    return f"{{trials: 6, rungs: {rungs}}}  # of {steps} steps; {stops}"


_HEAD = """\
# Written by `alignery recipe new` from {source}: {rows} rows ({kinds}),
# {prompts} different prompts. Check it with `alignery recipe validate {output}`, look at its rows
# with `alignery recipe sample {output}`, and search it with `alignery sweep run {output}`.
#
# Any number below may be a search space instead: {{loguniform: [low, high]}}, {{uniform: …}},
# {{int: [low, high]}} or {{choice: [a, b, c]}}, each with an optional default for the first trial.

name: {name}
description: {description}
base: {base}
seed: 0

data:
  path: {path}
{columns}  train: {train}  # rows that stages train on
  validation: {validation}  # rows that trials are compared on
  test: {test}  # rows that no search ever sees; the final figures come from these
  seed: 0

evaluation:
  max_new_tokens: {max_new_tokens}

stages:
"""

_STAGE = """\
  # {title}
  {method}:
    method: {method}
{links}
    learning_rate: {{loguniform: [{low}, {high}], default: {default}}}
    lora:
      r: {{choice: [8, 16, 32]}}
      lora_alpha: 2 * r  # tied, or a search of the rank would be one of the learning rate
      target_modules: all-linear
{own}
    {length}
    per_device_train_batch_size: {batch}
    gradient_checkpointing: true
{max_length}
    objective: {objective}
    sweep: {sweep}
"""
