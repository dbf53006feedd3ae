"""Recipes of a stage on rows of a file or on generated rows."""

import json

from align.recipe import parse_recipe


def recipe(tmp_path, rows, method="sft", **sizes):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    stage = {"method": method, "learning_rate": 1e-4, "max_steps": 1}
    stage["objective"] = {"sft": "nll", "grpo": "reward", "kto": "label_auc"}.get(
        method, "pair_accuracy"
    )
    if method == "grpo":
        stage |= {"rewards": {"brevity": 1.0}}
    data = {"path": str(path), "train": 4, "validation": 2, "test": 2, **sizes}
    raw = {"name": "mine", "base": "tiny-random", "data": data, "stages": {"one": stage}}
    return parse_recipe(raw)


def generated(method, task="arithmetic", **data):
    data = {"task": task, "train": 480, "validation": 64, "test": 200, **data}
    return recipe_of(method, data)


def recipe_of(method, data):
    stage = {"method": method, "learning_rate": 1e-4, "max_steps": 1, "objective": "accuracy"}
    stage["objective"] = {"reward": "pair_accuracy"}.get(method, "accuracy")
    if method == "grpo":
        stage |= {"rewards": {"brevity": 1.0}}
    return parse_recipe({"name": "m", "base": "b", "data": data, "stages": {"one": stage}})
