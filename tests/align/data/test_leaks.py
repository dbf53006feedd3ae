"""What is held out for a stage is trained on neither by it nor by what it builds on."""

import json
from pathlib import Path
from typing import Any

import pytest

from align.data import leaks
from align.data.leaks import check_chain
from align.data.problems import Split
from align.data.splits import load_split
from align.errors import DataError
from align.preflight import check_inputs
from align.recipe import Recipe, load_recipe
from tests.align.data.chains import recipe

ROW = {"completion": "c", "chosen": "good", "rejected": "bad", "answer": "1"}


def jsonl(path: Path, prompts: list[str]) -> str:
    path.write_text("".join(json.dumps({"prompt": one, **ROW}) + "\n" for one in prompts))
    return str(path)


@pytest.fixture
def file(tmp_path: Path) -> dict[str, Any]:
    path = jsonl(tmp_path / "rows.jsonl", [f"What is {n}?" for n in range(100)])
    return {"path": path, "train": 60, "validation": 10, "test": 10}


def test_stages_that_share_their_data_do_not_leak(file: dict[str, Any]) -> None:
    shared = recipe(
        sft={"data": file},
        reward={"data": file, "parent": "sft"},
        dpo={"data": file, "parent": "sft", "reward_model": "reward"},
    )
    for stage in shared.stages:
        check_chain(shared, stage)


def test_other_sizes_of_the_same_file_leak(file: dict[str, Any]) -> None:
    leaky = recipe(sft={"data": file}, dpo={"data": {**file, "test": 20}, "parent": "sft"})
    check_chain(leaky, "sft")
    with pytest.raises(DataError) as caught:
        check_chain(leaky, "dpo")
    message = str(caught.value)
    # A longer test split moves the validation split into what SFT trains on.
    assert message.startswith("10 validation prompts of stage 'dpo'")
    assert "trained on by stage 'sft', which dpo builds on" in message
    assert "the first: 'What is " in message
    assert "Give both stages the same data" in message


def held_out(made: Recipe, stage: str, split: Split) -> list[str]:
    return [str(row["prompt"][-1]["content"]) for row in load_split(made, stage, split)]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_leak_in_one_split_alone_is_found(
    tmp_path: Path, file: dict[str, Any], split: Split
) -> None:
    """SFT has a file of its own, in which a few of DPO's prompts of one split stand too."""
    few = held_out(recipe(dpo={"data": file}), "dpo", split)[:4]
    mixed = jsonl(tmp_path / "mixed.jsonl", [f"Name {n}" for n in range(40)] + few)
    data = {"path": mixed, "train": 42, "validation": 1, "test": 1}
    leaky = recipe(sft={"data": data}, dpo={"data": file, "parent": "sft"})
    trained = set(held_out(leaky, "sft", "train")) & set(few)
    assert len(trained) > 1
    with pytest.raises(DataError, match=f"^{len(trained)} {split} prompts of stage 'dpo'"):
        check_chain(leaky, "dpo")
    check_chain(leaky, "sft")


def test_a_file_that_holds_generated_problems_leaks(tmp_path: Path) -> None:
    """That generated problems know their split says nothing of a file that repeats them."""
    task = {"task": "arithmetic", "train": 8, "validation": 8, "test": 8}
    copied = held_out(recipe(dpo={"data": task}), "dpo", "test")
    path = jsonl(tmp_path / "copied.jsonl", [f"Name {n}" for n in range(40)] + copied)
    data = {"path": path, "train": 46, "validation": 1, "test": 1}
    leaky = recipe(sft={"data": data}, dpo={"data": task, "parent": "sft"})
    with pytest.raises(DataError, match="test prompts of stage 'dpo'"):
        check_chain(leaky, "dpo")


def test_another_seed_leaks_and_the_judge_counts(file: dict[str, Any]) -> None:
    leaky = recipe(
        reward={"data": {**file, "seed": 1}},
        dpo={"data": file, "reward_model": "reward"},
        grpo={"data": file, "parent": "dpo"},
    )
    for stage in ("dpo", "grpo"):
        with pytest.raises(DataError, match=f"stage 'reward', which {stage} builds on"):
            check_chain(leaky, stage)


def test_prompts_that_differ_by_whitespace_leak(tmp_path: Path, file: dict[str, Any]) -> None:
    spaced = jsonl(tmp_path / "spaced.jsonl", [f" What  is {n}?\n" for n in range(100)])
    leaky = recipe(
        sft={"data": {**file, "path": spaced, "seed": 3}}, dpo={"data": file, "parent": "sft"}
    )
    with pytest.raises(DataError, match="stage 'sft'"):
        check_chain(leaky, "dpo")


@pytest.mark.parametrize("objective", ["accuracy", "reward"])
def test_answers_that_the_objective_is_measured_on_count(
    file: dict[str, Any], objective: str
) -> None:
    """SFT by its answers is measured on GRPO's prompts, whose data are cut in another way."""
    leaky = recipe(sft={"data": {**file, "seed": 1}, "objective": objective}, grpo={"data": file})
    with pytest.raises(DataError, match=r"of stage 'grpo', which sft is measured on, .* 'sft'"):
        check_chain(leaky, "sft")
    check_chain(leaky, "grpo")
    read = recipe(sft={"data": {**file, "seed": 1}, "objective": "nll"}, grpo={"data": file})
    check_chain(read, "sft")


def test_generated_problems_and_other_files_never_leak(
    tmp_path: Path, file: dict[str, Any]
) -> None:
    built_in = load_recipe("arithmetic-smoke")
    for stage in built_in.stages:
        check_chain(built_in, stage)
    other = jsonl(tmp_path / "other.jsonl", [f"Name {n}" for n in range(100)])
    apart = recipe(sft={"data": {**file, "path": other}}, dpo={"data": file, "parent": "sft"})
    check_chain(apart, "dpo")


def test_a_registered_parent_is_not_looked_into(file: dict[str, Any]) -> None:
    check_chain(recipe(dpo={"data": file, "parent": "other/sft:3"}), "dpo")


def test_the_hub_is_left_out_where_it_is_not_asked(file: dict[str, Any]) -> None:
    hub = {"dataset": "nobody/nothing", "train": 60, "validation": 10, "test": 10}
    mixed = recipe(sft={"data": hub}, dpo={"data": file, "parent": "sft"})
    check_chain(mixed, "dpo", hub=False)
    check_chain(mixed, "sft", hub=False)


def test_asked_again_it_reads_nothing(
    file: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = recipe(sft={"data": file}, dpo={"data": file, "parent": "sft"})
    check_chain(mine, "dpo")

    def never(*_: object) -> None:
        raise AssertionError("rows were looked at again")

    monkeypatch.setattr(leaks, "split_rows", never)
    check_chain(mine, "dpo")


def test_a_leak_is_found_before_anything_starts(file: dict[str, Any]) -> None:
    leaky = recipe(sft={"data": file}, dpo={"data": {**file, "validation": 20}, "parent": "sft"})
    with pytest.raises(DataError, match=r"^stages\.dpo: .* of stage 'dpo' would be trained on"):
        check_inputs(leaky)
    check_inputs(leaky, ["sft"])
