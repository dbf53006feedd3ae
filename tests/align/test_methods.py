"""What every training method declares, and what its stages do from the data to an adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from align.data.formats import FORMATS, inspect_file
from align.data.lengths import measure_lengths, trainable
from align.data.splits import load_split
from align.errors import DataError, RecipeError
from align.evaluation.metrics import key_of
from align.memory.activations import activations
from align.memory.machines import GPUS
from align.memory.shape import read_shape
from align.memory.workload import workload
from align.methods import METHODS, is_reward_model, names_of
from align.recipe import Recipe, parse_recipe
from align.recipe.metric_schedule import at_end, kind_of
from align.scaffold import draft_recipe
from align.training.model_card import card
from align.training.trial import Trial


def recipe(method: str, **fields: Any) -> Recipe:
    """A stage of three steps on the built-in task; online methods write few short completions."""
    own: dict[str, Any] = {"max_length": 512}
    if METHODS[method].online:
        own = {"num_generations": 2, "max_completion_length": 4, "rewards": {"correctness": 1.0}}
    return parse_recipe(
        {
            "name": "tiny",
            "base": "tiny-random",
            "data": {"task": "arithmetic", "train": 16, "validation": 8, "test": 4},
            "evaluation": {"max_new_tokens": 4},
            "stages": {
                "one": {
                    "method": method,
                    "objective": METHODS[method].objectives[-1],
                    "learning_rate": 1.0e-3,
                    "max_steps": 3,
                    "per_device_train_batch_size": 4,
                    "sweep": {"rungs": [1]},
                    **own,
                    **fields,
                }
            },
        }
    )


def test_methods_are_told_apart() -> None:
    """A stream shared by two methods would train both on the same problems."""
    for attribute in ("order", "task_stream", "title", "description", "config_class"):
        values = [getattr(method, attribute) for method in METHODS.values()]
        assert len(set(values)) == len(values), attribute
    assert max(method.task_stream for method in METHODS.values()) < 10  # seeds are tens apart
    assert names_of("online") == ["grpo", "rloo"]
    assert names_of("trains_reward_model") == ["reward"]


@pytest.mark.parametrize("method", METHODS)
def test_a_method_names_formats_and_methods_that_exist(method: str) -> None:
    specification, formats = METHODS[method], {one.name: one for one in FORMATS}
    assert set(specification.drafted_from) <= set(specification.formats) <= set(formats)
    assert specification.task_format in specification.formats
    assert set(specification.draft_parents) <= set(METHODS)
    columns = {column for name in specification.formats for column in formats[name].columns}
    assert set(specification.sides) <= columns | {"completion"}


@pytest.mark.parametrize("method", METHODS)
def test_the_built_in_task_has_rows_for_it(method: str) -> None:
    rows = load_split(recipe(method), "one", "train")
    assert {"prompt", *METHODS[method].sides} <= set(rows[0])
    others = [load_split(recipe(other), "one", "train") for other in METHODS if other != method]
    prompts = [row["prompt"] for row in rows]
    assert all(prompts != [row["prompt"] for row in other] for other in others)


@pytest.mark.parametrize("method", ["orpo", "rloo"])
def test_a_trial_is_trained_resumed_and_published(tmp_path: Path, method: str) -> None:
    """Across a rung, as in two processes: the second trial continues from the first one's files."""
    folder, of = tmp_path / "work", recipe(method)

    def trial() -> Trial:
        return Trial(of, "one", {}, parent=None, reward_model=None, folder=folder)

    first = trial().advance(1)
    second = trial()
    assert second.step == 1
    report = second.advance(3)
    manifest = second.publish(tmp_path / "published", report)
    objective = key_of(of.stages["one"].objective, method)
    assert first["objective"] == first[objective] and report["objective"] == report[objective]
    assert report["kl_per_token"] > 0, "nothing was learned"
    assert (manifest.method, manifest.data["train"].rows) == (method, 16)
    assert METHODS[method].description in card(manifest)
    assert (tmp_path / "published" / "adapter_model.safetensors").is_file()


def test_rloo_generates_on_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import GenerationMixin

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("TRL generated the completions itself")

    monkeypatch.setattr(GenerationMixin, "generate", refuse)
    trial = Trial(recipe("rloo"), "one", {}, parent=None, reward_model=None, folder=tmp_path)
    assert 0 <= trial.advance(1)["mean_reward"] <= 1


def test_orpo_leaves_out_pairs_of_which_nothing_is_left(tiny: Any) -> None:
    """TRL would train on them, and their loss is NaN."""
    rows = load_split(recipe("orpo"), "one", "train")
    long = {**rows[0], "prompt": [{"role": "user", "content": "add " * 200}]}
    lengths = measure_lengths(tiny.tokenizer, [*rows, long], "orpo", 256)
    assert (lengths.rows, lengths.left_out) == (17, 1)
    assert trainable(tiny.tokenizer, [*rows, long], "orpo", 256) == rows
    assert trainable(tiny.tokenizer, [*rows, long], "dpo", 256) == [*rows, long]
    with pytest.raises(DataError, match="max_length 8 leaves no row"):
        measure_lengths(tiny.tokenizer, rows, "orpo", 8)


def test_a_run_with_such_a_pair_has_finite_losses(tiny: Any, tmp_path: Path) -> None:
    from align.training.train import train

    stage = recipe("orpo", max_length=256, sweep={"rungs": []}).stages["one"].resolve()
    rows = load_split(recipe("orpo"), "one", "train")
    rows = [{**rows[0], "prompt": [{"role": "user", "content": "add " * 200}]}, *rows[1:]]
    losses: list[float] = []
    train(
        tiny, stage, rows, tmp_path, to=3, steps=3, seed=0,
        on_step=lambda _, logs: losses.append(logs["loss"]),
    )  # fmt: skip
    assert len(losses) == 3 and all(0 < loss < 100 for loss in losses)


def test_orpo_ranks_pairs_by_its_own_likelihood() -> None:
    """It has no reference, so no log-ratio to a parent is its implicit reward, as DPO's is."""
    stage = recipe("orpo").stages["one"]
    assert kind_of(stage, "pair_accuracy") == "pairs" and "implied" not in at_end(stage)
    assert key_of("pair_accuracy", "orpo") == "pair_accuracy"
    assert key_of("pair_accuracy", "dpo") == "implicit_pair_accuracy"


def test_memory_counts_the_logits_that_orpo_holds() -> None:
    shape, card = read_shape("smollm2-135m-instruct"), GPUS["T4"]
    orpo, dpo = (workload(recipe(name).stages["one"].resolve(), shape) for name in ("orpo", "dpo"))
    assert orpo.tokens == dpo.tokens == 2 * 4 * 512
    predicted = activations(orpo, shape, card).logits
    assert predicted == orpo.tokens * shape.vocab * 8 > activations(dpo, shape, card).logits


@pytest.mark.parametrize(
    ("columns", "methods", "stages"),
    [
        ({"chosen": "yes", "rejected": "no"}, ["orpo"], ["orpo"]),
        ({"chosen": "yes", "rejected": "no"}, ["orpo", "reward"], ["reward", "orpo"]),
        ({"answer": "4", "completion": "it is 4"}, ["rloo", "sft"], ["sft", "rloo"]),
    ],
)
def test_recipe_new_drafts_the_methods_that_are_asked_for(
    tmp_path: Path, columns: dict[str, str], methods: list[str], stages: list[str]
) -> None:
    data = tmp_path / "rows.jsonl"
    lines = [
        json.dumps({"prompt": f"what is {n}?", **{k: f"{v} {n}" for k, v in columns.items()}})
        for n in range(60)
    ]
    data.write_text("\n".join(lines))
    findings = inspect_file(data)
    text = draft_recipe(findings, "mine", "tiny-random", tmp_path / "mine.yaml", methods)
    drafted = parse_recipe(yaml.safe_load(text), folder=tmp_path)
    assert [stage.method for stage in drafted.stages.values()] == stages
    for stage in drafted.stages.values():
        assert METHODS[stage.method].title in text
        low, default, high = map(float, METHODS[stage.method].learning_rates)
        assert stage.space()["learning_rate"].default == default and low < default < high
    assert drafted.order()[0] == stages[0]
    with pytest.raises(RecipeError, match="no method 'orpp'; did you mean 'orpo'"):
        draft_recipe(findings, "mine", "tiny-random", tmp_path / "mine.yaml", ["orpp"])
    wrong = "sft" if "chosen" in columns else "dpo"
    with pytest.raises(DataError, match=f"{wrong} cannot train on its columns"):
        draft_recipe(findings, "mine", "tiny-random", tmp_path / "mine.yaml", [wrong])


def test_an_unknown_method_of_an_adapter_is_no_reward_model() -> None:
    """Adapters of a later version may be registered."""
    assert not is_reward_model("grail") and is_reward_model("reward")
