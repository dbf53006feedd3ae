"""Files of a recipe travel through storage to other machines."""

from pathlib import Path

from align.recipe import load_recipe, parse_recipe
from align.recipe.show import to_yaml
from cluster.storage import Storage
from sweeps.pool.shipping import localise, ship_data
from tests.sweeps.toy_recipe import RECIPE


def own_data(folder):
    """A recipe with a file and a reward function of a person's own."""
    (folder / "rows.jsonl").write_text('{"prompt": "1+1", "completion": "2"}\n')
    (folder / "mine.py").write_text(
        "from helper import one\n\ndef score(completion):\n    return one\n"
    )
    (folder / "helper.py").write_text("one = 1.0\n")
    stages = {name: dict(stage) for name, stage in RECIPE["stages"].items()}
    stages["grpo"]["rewards"] = {"correctness": 1.0, "mine": {"weight": 1, "python": "mine:score"}}
    return parse_recipe({**RECIPE, "data": {"path": "rows.jsonl"}, "stages": stages}, folder=folder)


def test_files_travel_through_storage_by_their_content(settings, tmp_path):
    recipe = own_data(tmp_path)
    shipped = ship_data(settings, recipe, code=True)
    assert shipped.data.path.startswith("alignery://datasets/")
    assert shipped.stages["grpo"].rewards["mine"].folder.startswith("alignery://code/")
    assert ship_data(settings, shipped, code=True) == shipped
    assert recipe.data.path == str(tmp_path / "rows.jsonl")  # unchanged
    for name in ("rows.jsonl", "mine.py", "helper.py"):
        (tmp_path / name).unlink()
    here = localise(shipped, Storage(settings))
    assert Path(here.data.path).read_text() == '{"prompt": "1+1", "completion": "2"}\n'
    from align.rewards.functions import Function

    assert Function("mine", here.stages["grpo"].rewards["mine"])([], "2", {}) == 1.0
    assert localise(recipe, Storage(settings)) == recipe


def test_a_shipped_recipe_can_be_written_and_read(settings, tmp_path):
    shipped = ship_data(settings, own_data(tmp_path), code=True)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "recipe.yaml").write_text(to_yaml(shipped))
    read = load_recipe(tmp_path / "there" / "recipe.yaml")
    assert localise(read, Storage(settings)) == localise(shipped, Storage(settings))
    assert ship_data(settings, read, code=True) == shipped


def test_a_file_that_only_other_machines_have_stays_as_it_is(settings, tmp_path):
    recipe = own_data(tmp_path)
    (tmp_path / "rows.jsonl").unlink()
    assert ship_data(settings, recipe) == recipe
