"""The model card of an adapter: its manifest as readable Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from align.adapters.base_name import PUBLIC, digest_in_name, public_base
from align.adapters.manifest import Manifest
from align.methods import METHODS, is_reward_model
from align.sources import EMBEDDED
from align.training.metric_tables import MEASURES, how_good, table

CARD = "README.md"

_NOT_SETTINGS = {"method", "parent", "reward_model", "data", "sweep", "budget_seconds"}


def write_card(folder: Path, manifest: Manifest) -> None:
    """Write the folder's README.md."""
    (folder / CARD).write_text(card(manifest), encoding="utf-8")


def card(manifest: Manifest) -> str:
    """The manifest as Markdown with the front matter that PEFT writes for the hub."""
    parts = (_front(manifest), _what(manifest), _how(manifest), how_good(manifest), _use(manifest))
    return "\n\n".join("\n".join(part) for part in (*parts, _limits(manifest))) + "\n"


def _base(manifest: Manifest) -> str:
    """The base's name as others find it, no path of this machine."""
    return public_base(manifest.base, manifest.base_digest)[0]


def _front(manifest: Manifest) -> Iterator[str]:
    base = json.dumps(_base(manifest))  # quoted, as YAML reads it
    yield from ("---", f"base_model: {base}", "library_name: peft")
    if not is_reward_model(manifest.method):
        yield "pipeline_tag: text-generation"
    tags = [f"base_model:adapter:{_base(manifest)}", "alignery", "lora", manifest.method, "trl"]
    yield from ("tags:", *(f"- {json.dumps(tag)}" for tag in tags), "---")


def _what(manifest: Manifest) -> Iterator[str]:
    yield f"# {manifest.line}"
    yield ""
    method = METHODS.get(manifest.method)
    kind = "a reward model" if is_reward_model(manifest.method) else "a language model"
    yield (
        f"A LoRA adapter of rank {manifest.rank} for `{_base(manifest)}`: {kind}, made by "
        f"{method.description if method else manifest.method}."
    )
    if description := manifest.recipe.get("description"):
        yield f"It comes from the recipe *{manifest.recipe.get('name', '')}*: {description}"
    yield ""
    yield f"- id `{manifest.id}`"
    _, commit = public_base(manifest.base, manifest.base_digest, manifest.base_revision)
    revision = f", revision `{commit}`" if commit else ""
    yield f"- base weights `{manifest.base_digest[:16]}`{revision}"
    if manifest.base in PUBLIC:
        yield f"- trained on `{manifest.base}`, which is `{_base(manifest)}` rounded to 4 bits"
    if manifest.parents:
        yield f"- built on {_chain(manifest)}, whose weights this adapter contains"
    if manifest.reward_model:
        yield f"- judged by the reward model `{manifest.reward_model[:16]}`"
    if manifest.created_at:
        yield f"- made {manifest.created_at}"


def _chain(manifest: Manifest) -> str:
    """The parents, nearest first."""
    lines = manifest.parent_lines or [""] * len(manifest.parents)
    links = [
        f"{line} `{parent_id[:16]}`".strip()
        for line, parent_id in zip(lines, manifest.parents, strict=True)
    ]
    return " → ".join(links)


def _how(manifest: Manifest) -> Iterator[str]:
    yield "## How it was trained"
    yield ""
    if manifest.data:
        sizes = [f"{split.rows:,} rows of {name}" for name, split in manifest.data.items()]
        yield (
            f"{_source(manifest)}: {', '.join(sizes)}; no prompt is in two of them. "
            f"Seed {manifest.seed}, {manifest.dtype}, {_seconds(manifest)}."
        )
    training = manifest.training
    if lengths := _lengths(training.get("lengths", {})):
        yield f"Of the training rows, {lengths}."
    if out_of_memory := training.get("out_of_memory"):
        yield f"Memory ran out {len(out_of_memory)} time(s); the micro-batch was halved each time."
    if skipped := training.get("skipped_steps"):
        yield f"{skipped} step(s) changed nothing, since gradients overflowed fp16."
    settings = [[f"`{name}`", f"`{_value(value)}`"] for name, value in _settings(manifest)]
    if settings:
        yield from ("", *table(["setting", "value"], settings))
    if manifest.versions:
        names = ", ".join(
            f"{name} {version}" for name, version in sorted(manifest.versions.items())
        )
        commit = f"; commit `{manifest.code_commit}`" if manifest.code_commit else ""
        yield from ("", f"{names}{commit}")


def _source(manifest: Manifest) -> str:
    data = manifest.stage.get("data") or manifest.recipe.get("data") or {}
    kinds = {"task": "the task", "path": "the file", "dataset": "the dataset"}
    for kind, words in kinds.items():
        if name := data.get(kind):
            # Only the file's name: the rest of the path means nothing on another machine.
            return f"Trained on {words} `{Path(name).name if kind == 'path' else name}`"
    return "Trained on"


def _seconds(manifest: Manifest) -> str:
    wall = f"{manifest.wall_seconds:,.0f} s of training"
    used = manifest.accelerator_seconds
    return f"{wall}, {used:,.0f} s of them on an accelerator" if used else wall


def _lengths(lengths: Mapping[str, int]) -> str:
    phrases = {
        "too_long": "were cut at `max_length`",
        "left_out": "were left out, since nothing of the answer would have been left",
        "without_preference": "were left out, since they state no preference",
    }
    return " and ".join(
        f"{lengths[name]} {words}" for name, words in phrases.items() if lengths.get(name)
    )


def _settings(manifest: Manifest) -> Iterator[tuple[str, Any]]:
    """The resolved settings that are set; nested settings by dotted name."""
    method = METHODS.get(manifest.method)
    skipped = _NOT_SETTINGS | (method.unused_fields if method else set())
    for name, value in manifest.stage.items():
        if name == "lora" and isinstance(value, Mapping):
            yield from ((f"lora.{inner}", leaf) for inner, leaf in value.items())
        elif name not in skipped and value not in (None, {}, []):
            yield name, value


def _use(manifest: Manifest) -> Iterator[str]:
    kind = "SequenceClassification" if is_reward_model(manifest.method) else "CausalLM"
    model = f"AutoModelFor{kind}"
    labels = ", num_labels=1" if is_reward_model(manifest.method) else ""
    packaged = manifest.base in EMBEDDED
    name = json.dumps(manifest.base if packaged else _base(manifest))
    yield from ("## How to use it", "", "```python")
    if packaged:
        yield "from align.base import model_source"
    folder = "  # the folder with these weights" if digest_in_name(_base(manifest)) else ""
    yield from (
        "from peft import PeftModel",
        f"from transformers import {model}, AutoTokenizer",
        "",
        f"source = {f'model_source({name})  # its folder' if packaged else name + folder}",
        "tokenizer = AutoTokenizer.from_pretrained(source)",
        f"base = {model}.from_pretrained(source{labels})",
    )
    if is_reward_model(manifest.method):
        yield f"base.config.pad_token_id = {manifest.pad_token_id}"
    yield from ('model = PeftModel.from_pretrained(base, ".")  # this folder', "```")
    yield ""
    yield "Or behind an OpenAI-compatible endpoint, as one of many adapters:"
    yield ""
    yield from (
        "```sh",
        f"alignery adapter register {manifest.line} .",
        "alignery serve run",
        f"# then ask for the model {manifest.line}@champion, or {manifest.line}:1",
        "```",
    )


def _limits(manifest: Manifest) -> Iterator[str]:
    yield "## What is not known"
    yield ""
    yield (
        "- Only what stands above was measured, on held-out items like the training data. Other "
        "tasks, languages, long conversations, safety and bias were not."
    )
    expected = ("accuracy", "mean_reward", "win_rate", "nll", "kl_per_token")
    if not is_reward_model(manifest.method):
        if missing := [MEASURES[name] for name in expected if name not in manifest.metrics]:
            yield f"- Not measured of this adapter: {'; '.join(missing)}."
        if "mean_reward" in manifest.metrics:
            yield "- A reward says what it was made to say. Read answers in `evaluation.jsonl`."
    if manifest.reward_failures:
        yield f"- A reward gave no number for {manifest.reward_failures} answers; see the manifest."
    if difference := manifest.training.get("stack_difference"):
        details = ", ".join(f"{name} {value:.2g}" for name, value in difference.items())
        yield f"- The stack that was trained and this adapter as it is served differ by {details}."


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
