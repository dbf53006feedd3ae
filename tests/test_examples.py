"""examples/: each recipe is valid with its data, and its README names what exists."""

import importlib.util
import json
import re
import shutil
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from align.data.formats import inspect_file
from align.data.splits import load_split
from align.data.user_rows import read_rows
from align.preflight import check_inputs
from align.recipe import load_recipe
from align.rewards.functions import Function, PythonConfig
from alignery import app
from tests.test_readme import resolve, words

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.parent for path in ROOT.glob("examples/*/recipe.yaml"))
TEXTS = [ROOT / "examples/README.md", *(one / "README.md" for one in EXAMPLES)]
example = pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def own_reward(folder: Path, name: str) -> Function:
    """The reward as a GRPO stage of the recipe calls it."""
    config = load_recipe(str(folder / "recipe.yaml")).rewards("grpo")[name]
    assert isinstance(config, PythonConfig)
    return Function(name, config)


def test_there_are_examples_and_the_readmes_list_them() -> None:
    overview = TEXTS[0].read_text(encoding="utf-8")
    assert len(EXAMPLES) == 5
    assert set(re.findall(r"\]\(([\w-]+)/\)", overview)) == {one.name for one in EXAMPLES}
    assert "(examples/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


@example
def test_validate_accepts_the_recipe_with_its_data_and_rewards(folder: Path) -> None:
    result = CliRunner().invoke(app, ["recipe", "validate", str(folder / "recipe.yaml"), "--json"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["ok"]


@example
def test_the_base_and_the_data_can_be_had_without_a_hub(folder: Path) -> None:
    recipe = load_recipe(str(folder / "recipe.yaml"))
    check_inputs(recipe, hub=False)
    assert recipe.base == "smollm2-135m-instruct"
    for stage in recipe.order():
        assert recipe.data_of(stage).path is not None
        for split in ("train", "validation", "test"):
            assert load_split(recipe, stage, split)


@example
def test_the_data_is_used_and_no_data_file_is_left_over(folder: Path) -> None:
    raw = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    data = raw["data"]
    count = len(read_rows(folder / data["path"]))
    # Rows of one prompt go into one split, which may leave some of them over.
    assert 0.9 * count <= data["train"] + data["validation"] + data["test"] <= count
    files = {one.name for one in folder.iterdir() if one.suffix in (".csv", ".jsonl")}
    assert files == {data["path"]}


@pytest.mark.parametrize("name", ["verifiable-rewards", "pipeline"])
def test_the_reward_function_tells_right_from_wrong(name: str) -> None:
    folder = ROOT / "examples" / name
    reward = own_reward(folder, "arrival")
    file = load_recipe(str(folder / "recipe.yaml")).data_of("grpo").path
    assert file is not None
    for row in rows(Path(file)):
        hour, minute = row["answer"].split(":")
        assert reward([], f"It leaves at 04:04 and arrives at {row['answer']}.", row) == 1.0
        assert reward([], f"At {hour}:{(int(minute) + 1) % 60:02d}.", row) == 0.3
        assert reward([], f"At {(int(hour) + 1) % 24:02d}:{minute}.", row) == 0.0
        assert reward([], "I do not know.", row) == 0.0


def test_the_pipelines_solutions_are_right_and_its_rejected_answers_are_not() -> None:
    folder = ROOT / "examples/pipeline"
    reward = own_reward(folder, "arrival")
    for row in rows(folder / "timetable.jsonl"):
        assert reward([], row["completion"], row) == reward([], row["chosen"], row) == 1.0
        assert reward([], row["rejected"], row) < 1.0


def test_the_pipelines_users_ask_what_is_in_no_data_file(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ROOT / "examples/pipeline"
    monkeypatch.syspath_prepend(str(folder))
    users, reward = module(folder / "users.py"), own_reward(folder, "arrival")
    known = {row["prompt"] for row in rows(folder / "timetable.jsonl")}
    rng = Random(0)
    for _ in range(200):
        text, answer = users.question(rng)
        assert text not in known
        assert reward([], answer, {"answer": answer}) == 1.0


def test_collected_thumbs_are_rows_for_kto(tmp_path: Path) -> None:
    folder, file = ROOT / "examples/thumbs", tmp_path / "thumbs.jsonl"
    collect = module(folder / "collect.py")
    for number in range(10):
        collect.record(file, f"Is {number} a good number?", "Ja, schön.", number % 2 == 0)
    assert inspect_file(file).methods == ("kto",)
    assert rows(file)[0].keys() == rows(folder / "thumbs.jsonl")[0].keys()


def test_the_plan_of_the_pipeline_names_each_stage(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copied"
    shutil.copytree(ROOT / "examples/pipeline", folder)
    recipe = folder / "recipe.yaml"
    text = recipe.read_text(encoding="utf-8")
    recipe.write_text(text.replace("smollm2-135m-instruct", "tiny-random"), encoding="utf-8")
    result = CliRunner().invoke(app, ["sweep", "run", str(recipe), "--dry-run"])
    assert result.exit_code == 0, result.stderr
    assert all(re.search(rf"^{stage} ", result.stdout, re.M) for stage in ("sft", "dpo", "grpo"))


def commands() -> list[str]:
    return [
        line
        for text in TEXTS
        for block in re.findall(r"^```sh\n(.*?)^```", text.read_text("utf-8"), re.M | re.S)
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("alignery ")
    ]


@pytest.mark.parametrize("line", commands())
def test_a_command_of_a_readme_exists(line: str) -> None:
    resolve(words(line))


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.parent.name)
def test_files_that_a_readme_names_exist(text: Path) -> None:
    content = text.read_text(encoding="utf-8")
    links = [one for one in re.findall(r"\]\(([^)#]+)[^)]*\)", content) if "://" not in one]
    scripts = re.findall(r"^python (\S+)", content, re.MULTILINE)
    assert all((text.parent / one).exists() for one in [*links, *scripts])
