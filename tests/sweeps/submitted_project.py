"""A project whose sweep is submitted: a recipe, code, and things that must not travel."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

import alignery

PASSWORD = "correct-horse-battery"
DATABASE = f"postgresql://me:{PASSWORD}@db.example.com/alignery"

RECIPE = {
    "name": "toy",
    "base": "tiny-random",
    "data": {"task": "arithmetic", "train": 8, "validation": 4, "test": 4},
    "stages": {
        "sft": {
            "method": "sft",
            "learning_rate": {"loguniform": [1e-4, 1e-2], "default": 1e-3},
            "max_steps": 2,
            "objective": "accuracy",
            "sweep": {"trials": 1},
        }
    },
}


def write_project(folder: Path) -> None:
    """Make `folder` a git checkout with the project."""
    folder.mkdir()
    (folder / "toy.yaml").write_text(yaml.safe_dump(RECIPE))
    (folder / "helper.py").write_text("WORD = 'one'\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / ".env").write_text(f"ALIGNERY_DATABASE_URL={DATABASE}\n")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all", "--force")
    (folder / "untracked.py").write_text("")


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(alignery.app, ["sweep", *arguments])


def own_data_and_rewards(project: Path) -> dict[str, Any]:
    """A recipe on rows and with a reward function that lie in the project."""
    rows = [{"prompt": f"{n} + {n} =", "completion": str(2 * n)} for n in range(40)]
    (project / "rows.jsonl").write_text("\n".join(json.dumps(one) for one in rows))
    (project / "rewards.py").write_text("def short(completion):\n    return -len(completion)\n")
    git(project, "add", "--all")
    stage = {
        **RECIPE["stages"]["sft"],
        "objective": "reward",
        "rewards": {"short": {"python": "rewards:short", "weight": 1.0}},
    }
    data = {"path": "rows.jsonl", "train": 8, "validation": 4, "test": 4}
    return {**RECIPE, "data": data, "stages": {"sft": stage}}
