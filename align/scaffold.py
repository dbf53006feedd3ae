"""Drafts a commented recipe for a user's data file."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from align.data.formats import MIN_PROMPTS, Findings
from align.errors import DataError, RecipeError
from align.recipe.trl_fields.installed import Method

#: Low end, default and high end. The default is TRL's advice for LoRA.
LEARNING_RATES: dict[Method, tuple[str, str, str]] = {
    "sft": ("2.0e-5", "2.0e-4", "2.0e-3"),
    "reward": ("1.0e-5", "1.0e-4", "1.0e-3"),
    "dpo": ("1.0e-6", "5.0e-6", "1.0e-4"),
    "kto": ("1.0e-6", "5.0e-6", "1.0e-4"),  # TRL: "similar to that of DPO"
    "grpo": ("1.0e-6", "1.0e-5", "1.0e-4"),
}
BATCH = 8
GENERATIONS = 8


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


def draft_recipe(findings: Findings, name: str, base: str, output: Path) -> str:
    """The YAML text of a recipe with every stage that the data permits.

    The data path is relative if the file is in the folder of `output` or below.
    """
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
        description=_scalar(f"{', '.join(findings.methods)} on {data.name}"),
        base=_scalar(base),
        path=_scalar(str(data_path)),
        output=output.name,
        train=splits.train,
        validation=splits.validation,
        test=splits.test,
        max_new_tokens=_answer_tokens(findings),
    )
    return head + "".join(_stage(method, findings, splits) for method in findings.methods)


def _scalar(text: str) -> str:
    return yaml.safe_dump(text, width=math.inf, allow_unicode=True).splitlines()[0]


def _ladder(tokens: float, steps: tuple[int, ...]) -> int:
    return next((step for step in steps if step >= tokens), steps[-1])


def _answer_tokens(findings: Findings) -> int:
    """A limit of answer tokens, from a cautious three characters a token."""
    return _ladder(findings.answer_characters / 3 or 128, (64, 128, 256, 512))


def _row_tokens(findings: Findings) -> int:
    return _ladder(findings.characters / 3 + 32, (128, 256, 512, 768, 1024, 2048))


def _stage(method: Method, findings: Findings, splits: Splits) -> str:
    low, default, high = LEARNING_RATES[method]
    body = _STAGE.format(
        method=method,
        title=_TITLES[method],
        links=_links(method, findings.methods),
        low=low,
        default=default,
        high=high,
        own=_own(method, findings),
        length=(
            f"max_steps: {_steps(method, splits)}" if method == "grpo" else "num_train_epochs: 1"
        ),
        batch=BATCH,
        max_length="" if method == "grpo" else f"    max_length: {_row_tokens(findings)}",
        objective=_objective(method, findings.methods),
        sweep=_sweep(_steps(method, splits)),
    )
    return "\n".join(line for line in body.splitlines() if line.strip()) + "\n"


def _links(method: Method, methods: tuple[Method, ...]) -> str:
    """The YAML lines of a stage's parent and reward model."""
    before: dict[Method, tuple[Method, ...]] = {
        "sft": (),
        "reward": ("sft",),
        "dpo": ("sft",),
        "kto": ("sft",),
        "grpo": ("dpo", "kto", "sft"),
    }
    lines = []
    parent = next((candidate for candidate in before[method] if candidate in methods), None)
    if parent:
        lines.append(f"    parent: {parent}  # starts from that stage's best adapter")
    if method in ("dpo", "kto", "grpo") and "reward" in methods:
        lines.append("    reward_model: reward")
    return "\n".join(lines)


def _own(method: Method, findings: Findings) -> str:
    """The YAML lines of the method's own fields."""
    if method in ("dpo", "kto"):
        return (
            "    beta: {loguniform: [0.01, 0.5], default: 0.1}  # higher stays closer to the parent"
        )
    if method != "grpo":
        return ""
    judge = ", reward_model: 0.1" if "reward" in findings.methods else ""
    return f"""\
    beta: {{choice: [0.0, 0.001, 0.01]}}  # weight of the KL term; TRL leaves it out
    num_generations: {GENERATIONS}  # completions compared for one prompt
    max_completion_length: {_answer_tokens(findings)}
    temperature: 1.0
    rewards: {{correctness: 1.0, brevity: 0.2{judge}}}  # fixed weights, never searched"""


def _objective(method: Method, methods: tuple[Method, ...]) -> str:
    if method == "grpo":
        return "reward  # of answers to held-out prompts"
    if method == "reward":
        return "pair_accuracy  # how often the chosen answer of a held-out pair scores higher"
    if method == "sft" and "grpo" not in methods:
        return "nll  # of held-out answers; lower is better"
    if method == "sft" or (method == "kto" and "reward" not in methods and "grpo" in methods):
        return "accuracy  # of answers to held-out prompts"
    if "reward" in methods:
        before = "parent" if "sft" in methods else "base"
        return (
            "win_rate  # against the parent, judged by the reward model\n"
            f"    constraints: [length <= 1.5 * {before}.length]  # answers that grow do not win"
        )
    if method == "kto":
        return "label_auc  # how often a held-out good answer is raised more than a bad one"
    return "pair_accuracy  # how often the chosen answer of a held-out pair is likelier"


def _steps(method: Method, splits: Splits) -> int:
    """Optimizer steps of an epoch; at most 60 for GRPO, whose steps generate completions."""
    if method == "grpo":
        return min(60, splits.train)
    return math.ceil(splits.train / BATCH)


def _sweep(steps: int) -> str:
    rungs = [steps // 4, steps // 2] if steps >= 8 else []
    stops = "poor trials stop at these steps" if rungs else "too few steps to stop early"
    return f"{{trials: 6, rungs: {rungs}}}  # of {steps} steps; {stops}"


_TITLES: dict[Method, str] = {
    "sft": "Supervised fine-tuning: imitate the answers.",
    "reward": "Reward model: learn which answer of a pair people prefer.",
    "dpo": "Direct preference optimisation: move from the rejected towards the chosen answers.",
    "kto": "Kahneman-Tversky optimisation: towards answers labelled good, away from bad ones.",
    "grpo": "Group relative policy optimisation: try, check the answers, reinforce what scored.",
}

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
  train: {train}  # rows that stages train on
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
