"""Which stages and objectives `recipe new` writes for preferences, paired and not."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from align.data.formats import Findings, inspect_file
from align.methods import MethodName
from align.recipe import Recipe, load_recipe
from align.scaffold import draft_recipe, write_recipe


def labelled(path: Path, **columns: Any) -> Findings:
    """A file of answers to forty prompts, every other one good."""
    rows = [
        {"prompt": f"What is {n} + 3?", "completion": str(n + 3), "label": n % 2 == 0, **columns}
        for n in range(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return inspect_file(path)


def drafted(findings: Findings, folder: Path) -> Recipe:
    output = folder / "mine.yaml"
    write_recipe(draft_recipe(findings, "mine", "tiny-random", output), output, force=True)
    return load_recipe(output)


def test_unpaired_preferences_get_a_kto_stage(tmp_path: Path) -> None:
    recipe = drafted(labelled(tmp_path / "thumbs.jsonl"), tmp_path)
    assert recipe.order() == ["kto"]
    stage = recipe.stages["kto"]
    assert (stage.method, stage.objective, stage.parent) == ("kto", "label_auc", None)
    assert stage.resolve().trl()["beta"] == 0.1
    assert set(stage.space()) == {"learning_rate", "beta", "lora.r"}
    assert stage.defaults()["learning_rate"] == 5e-6


def test_with_answers_they_are_judged_by_accuracy(tmp_path: Path) -> None:
    recipe = drafted(labelled(tmp_path / "thumbs.jsonl", answer="5"), tmp_path)
    assert {name: one.objective for name, one in recipe.stages.items()} == {
        "kto": "accuracy",
        "grpo": "reward",
    }
    assert recipe.stages["grpo"].parent == "kto"


@pytest.mark.parametrize(
    ("methods", "objective", "judge"),
    [
        (("dpo",), "pair_accuracy", None),
        (("reward", "dpo"), "win_rate", "reward"),
        (("reward", "kto"), "win_rate", "reward"),
    ],
)
def test_without_a_judge_pairs_are_ranked(
    tmp_path: Path,
    methods: tuple[MethodName, ...],
    objective: str,
    judge: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    findings = labelled(tmp_path / "thumbs.jsonl")
    monkeypatch.setattr(Findings, "methods", methods)
    text = draft_recipe(findings, "mine", "tiny-random", tmp_path / "mine.yaml")
    stage = yaml.safe_load(text)["stages"][methods[-1]]
    assert (stage["objective"], stage.get("reward_model")) == (objective, judge)
    bound = ["length <= 1.5 * base.length"]  # there is no stage before to be its parent
    assert stage.get("constraints") == (bound if judge else None)
    assert Recipe.model_validate(yaml.safe_load(text)).order() == list(methods)
