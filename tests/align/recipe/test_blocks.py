"""A recipe's blocks: where rows come from, and how a stage is searched."""

import re
from typing import Any

import pytest

from align.errors import RecipeError
from tests.align.recipe.searches import sweep
from tests.align.recipe.stages import Raw, recipe, refusal, stage


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"task": "reasoning_gym/chain_sum", "task_config": {"max_terms": 3}}, None),
        (
            {"task": "resoning_gym/chain_sum"},
            "allowed: arithmetic, expressions, reasoning_gym/<",
        ),
        (
            {"task": "arithmetic", "task_config": {}},
            "task_config belongs to a task of",
        ),
        (
            {"path": "rows.jsonl", "task_config": {}},
            "task_config belongs to a task of",
        ),
    ],
)
def test_tasks_of_reasoning_gym(data: Raw, message: str | None) -> None:
    given = stage("sft", data=data)
    if message is None:
        assert recipe(one=given).data_of("one").task_config == {"max_terms": 3}
    else:
        assert message in refusal(one=given)


WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"sampler": "tpa"},
        "sweep.sampler: did you mean 'tpe'. allowed: tpe, random, gp, .*got 'tpa'",
    ),
    ({"sampler": "tpesampler"}, "did you mean 'TPESampler'"),
    ({"pruner": "hyperbant"}, "sweep.pruner: did you mean 'hyperband'"),
    ({"pruner": "asha"}, "sweep.pruner: allowed: paired, successive_halving"),
    ({"retries": -1}, "sweep.retries: "),
    ({"finalists": -1}, "sweep.finalists: "),
    ({"startup_trials": -1}, "sweep.startup_trials: "),
    ({"keep_checkpoints": "some"}, "sweep.keep_checkpoints: .*'best'.*got 'some'"),
    ({"warm_start": "my study"}, "sweep.warm_start: expected <recipe>/<stage>"),
    ({"sampler_options": [1]}, "sweep.sampler_options: "),
    ({"points": {"learning_rate": 1e-3}}, "sweep.points: "),
    (
        {"stop_when": {"gain_below": "low"}},
        "sweep.stop_when.gain_below: a number in the objective's unit.*got 'low'",
    ),
    ({"stop_when": {"gain_below": True}}, "a number in the objective's unit.*got True"),
    ({"stop_when": {"gain_below": -0.1}}, "no gain is below -0.1.*leave stop_when out"),
    ({"stop_when": {"gain_below": 0}}, "no gain is below 0, so this never stops"),
    ({"stop_when": {"gain_below": float("inf")}}, "sweep.stop_when.gain_below: .*finite.*got inf"),
    ({"stop_when": {}}, "missing field .*sweep.stop_when.gain_below"),
    ({"stop_when": {"gain_bellow": 0.1}}, "unknown field .*; did you mean 'gain_below'"),
    ({"stop_when": 0.01}, "sweep.stop_when: .*got 0.01"),
    ({"samplers": "tpe"}, "unknown field .*; did you mean 'sampler'"),
]


@pytest.mark.parametrize(("given", "message"), WRONG)
def test_a_wrong_search_is_told(given: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        sweep(**given)
    assert re.search(message, str(caught.value))


@pytest.mark.parametrize("name", ["arithmetic/sft", "arithmetic/sft:3", "arithmetic/sft/3-0a1b2c"])
def test_an_earlier_search_is_named_by_line_run_or_study(name: str) -> None:
    assert sweep(warm_start=name).warm_start == name


def test_a_rule_to_stop_is_left_out_of_dumps_where_there_is_none() -> None:
    assert "stop_when" not in sweep().model_dump(mode="json")
    rule = {"gain_below": 0.01}
    assert sweep(stop_when=rule).model_dump(mode="json")["stop_when"] == rule
