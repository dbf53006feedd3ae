"""`alignery recipe list|show|validate|sample|new`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from align.commands.common import RecipeArgument, check_stage, recipe_app
from align.data.formats import Findings, inspect_file
from align.data.reading_notes import reading_notes
from align.data.row_findings import account_lines
from align.json_output import JsonOption, print_json
from align.preflight import check_inputs
from align.recipe import DataConfig, Recipe, builtin_recipes, load_recipe, parse_recipe
from align.recipe.show import columns, plain, promises, space_table, to_yaml
from align.scaffold import draft_recipe, recipe_name, write_recipe
from align.sources import check_base, on_hub


class SplitName(StrEnum):
    """Which part of the data."""

    train = "train"
    validation = "validation"
    test = "test"


@recipe_app.command("list")
def list_recipes(as_json: JsonOption = False) -> None:
    """List the shipped recipes."""
    recipes = [load_recipe(name) for name in builtin_recipes()]
    rows = [
        (recipe.name, recipe.base, ", ".join(recipe.order()), recipe.description)
        for recipe in recipes
    ]
    if as_json:
        names = ("name", "base", "stages", "description")
        entries = [dict(zip(names, row, strict=True)) for row in rows]
        print_json(
            [
                {**entry, "stages": recipe.order()}
                for entry, recipe in zip(entries, recipes, strict=True)
            ]
        )
        return
    for line in columns([("RECIPE", "BASE", "STAGES", "DESCRIPTION"), *rows]):
        typer.echo(line)


@recipe_app.command()
def show(recipe: RecipeArgument, as_json: JsonOption = False) -> None:
    """Print a recipe with every default filled in, and what it searches."""
    loaded = load_recipe(recipe)
    if as_json:
        print_json(
            {
                "recipe": plain(loaded),
                "stages": [_summary(loaded, stage) for stage in loaded.order()],
            }
        )
        return
    typer.echo(to_yaml(loaded))
    for line in columns([("STAGE", "FIELD", "SPACE", "FIRST TRIAL"), *space_table(loaded)]):
        typer.echo(f"# {line}")
    for line in promises(loaded):
        typer.echo(f"# {line}")


@recipe_app.command()
def validate(
    recipe: RecipeArgument,
    data: Annotated[
        bool, typer.Option(help="Look at the files that it names too; nothing on a hub is read.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Check a recipe, and the base's folder and the data that it names."""
    loaded = load_recipe(recipe)
    accounts = check_inputs(loaded, hub=False) if data else {}
    notes = reading_notes(loaded, hub=False) if data else []
    stages = [_summary(loaded, stage) for stage in loaded.order()]
    for stage in stages:
        stage["data"] = _data(loaded, stage["stage"], read=data)
        account = accounts.get(stage["stage"])
        stage["rows"] = None if account is None else account.model_dump(mode="json")
    if as_json:
        report = {"ok": True, "name": loaded.name, "base": loaded.base, "stages": stages}
        print_json({**report, "notes": notes})
        return
    hub_note = " (the hub was not asked for it)" if data and on_hub(loaded.base) else ""
    typer.echo(f"ok: {loaded.name} on {loaded.base}{hub_note}")
    head = ("STAGE", "METHOD", "FROM", "STEPS", "TRIALS", "OBJECTIVE", "DATA", "SEARCHES")
    for line in columns([head, *(_cells(stage) for stage in stages)]):
        typer.echo(f"  {line}")
    for line in (*account_lines(accounts), *notes, *promises(loaded)):
        typer.echo(f"  {line}")


@recipe_app.command()
def sample(
    recipe: RecipeArgument,
    stage: Annotated[
        str, typer.Option(help="Which stage's rows; the first one's if left out.")
    ] = "",
    split: Annotated[SplitName, typer.Option(help="Which part of the data.")] = SplitName.train,
    count: Annotated[int, typer.Option(min=1, help="How many rows.")] = 3,
    seed: Annotated[
        int | None, typer.Option(help="Another seed than the recipe's for the data.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON list instead of a row on each line.")
    ] = False,
) -> None:
    """Print rows of a stage's data as JSON lines."""
    loaded = load_recipe(recipe)
    stage = stage or loaded.order()[0]
    check_stage(loaded, stage)
    from align.data.splits import load_split

    rows = load_split(loaded, stage, split.value, seed)[:count]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(json.dumps(row, ensure_ascii=False))


@recipe_app.command()
def new(
    source: Annotated[
        Path, typer.Option("--from", help="Your data: JSON lines, JSON, CSV, Parquet or Arrow.")
    ],
    base: Annotated[
        str, typer.Option(help="The base model: a hub id, a folder, or a built-in one.")
    ],
    name: Annotated[str, typer.Option(help="The recipe's name; the data file's if left out.")] = "",
    output: Annotated[
        Path | None, typer.Option(help="Where to write it; NAME.yaml here if left out.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="A method to draft a stage of, any number of times; by default the usual."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at your own data, say what it can train, and write a commented recipe for it."""
    check_base(base, hub=False)
    findings = inspect_file(source)
    name = name or recipe_name(source)
    output = output or Path(f"{name}.yaml")
    text = draft_recipe(findings, name, base, output, method or ())
    recipe = parse_recipe(yaml.safe_load(text), str(output), folder=output.parent)
    write_recipe(text, output, force)
    if as_json:
        print_json(_found(findings, recipe, output))
        return
    for line in _told(findings, recipe, output):
        typer.echo(line)


def _summary(recipe: Recipe, stage: str) -> dict[str, Any]:
    config = recipe.stages[stage]
    return {
        "stage": stage,
        "line": recipe.line(stage),
        "method": config.method,
        "parent": config.parent,
        "reward_model": config.reward_model,
        "objective": config.objective,
        "constraints": config.constraints,
        "steps": recipe.steps(stage),
        "fewest_steps": recipe.fewest_steps(stage),
        "trials": config.sweep.trials,
        "space": {path: space.short() for path, space in config.space().items()},
        "first_trial": config.defaults(),
        "points": list(config.sweep.points),
    }


def _cells(stage: dict[str, Any]) -> tuple[str, ...]:
    judge = f" + {stage['reward_model']}" if stage["reward_model"] else ""
    return (
        stage["stage"],
        stage["method"],
        (stage["parent"] or "base") + judge,
        _steps(stage),
        str(stage["trials"]),
        stage["objective"],
        stage["data"],
        ", ".join(stage["space"]) or "nothing",
    )


def _steps(stage: dict[str, Any]) -> str:
    fewest, most = stage["fewest_steps"], stage["steps"]
    return str(most) if fewest == most else f"{fewest} to {most}"


def _data(recipe: Recipe, stage: str, read: bool) -> str:
    """Rows of each split in words. DataError if they overlap or cannot be read."""
    data = recipe.data_of(stage)
    if read and data.dataset is None:
        from align.data.splits import check_disjoint, load_split

        splits = {split.value: load_split(recipe, stage, split.value) for split in SplitName}
        check_disjoint(splits)
        return "/".join(str(len(rows)) for rows in splits.values())
    return f"{_asked(data)} of {data.dataset or data.path or data.task}, not read"


def _asked(data: DataConfig) -> str:
    return f"{data.train}/{data.validation}/{data.test}"


def _found(findings: Findings, recipe: Recipe, output: Path) -> dict[str, Any]:
    data = recipe.data_of(recipe.order()[0])
    return {
        "recipe": str(output),
        "name": recipe.name,
        "rows": findings.rows,
        "prompts": findings.prompts,
        "columns": list(findings.columns),
        "form": findings.form,
        "mapping": dict(findings.mapping),
        "ignored": list(findings.ignored),
        "notes": list(findings.notes),
        "formats": [data_format.name for data_format in findings.formats],
        "stages": recipe.order(),
        "splits": {"train": data.train, "validation": data.validation, "test": data.test},
    }


def _told(findings: Findings, recipe: Recipe, output: Path) -> list[str]:
    formats = " and ".join(
        f"{data_format.name} ({', '.join(data_format.columns)})" for data_format in findings.formats
    )
    counts = _asked(recipe.data_of(recipe.order()[0]))
    lines = [
        *([f"{findings.path}: read as {findings.form}"] if findings.form else []),
        f"{findings.path}: {findings.rows} rows, {findings.prompts} different prompts; {formats}",
        f"it can train: {', '.join(recipe.order())}",
        f"rows to train, compare and test on: {counts}",
    ]
    lines += findings.notes
    if findings.mapping:
        names = ", ".join(f"{theirs} as {ours}" for ours, theirs in findings.mapping.items())
        lines.append(f"taken for TRL's columns (data.columns in the recipe): {names}")
    if findings.ignored:
        lines.append(f"columns without a use: {', '.join(findings.ignored)}")
    return [*lines, f"wrote {output}; next: alignery recipe validate {output}"]
