"""The final table says what the figures say, good or bad."""

import io
from types import SimpleNamespace

from rich.console import Console

from align.recipe import load_recipe
from align.stages.measures import Evaluation
from sweeps.standings import pair_rule, summary, table, verdicts

RECIPE = load_recipe("arithmetic-smoke")
ITEMS = 40


def system(name: str, right: int, reward: float, pairs: int) -> Evaluation:
    return Evaluation(
        name,
        "test",
        correct=[1.0] * right + [0.0] * (ITEMS - right),
        reward=[reward + 0.001 * (index % 5) for index in range(ITEMS)],
        lengths=[50.0] * ITEMS,
        pairs=[1.0] * pairs + [0.0] * (ITEMS - pairs),
    )


MEASURED = {
    "base": system("base", 2, 0.1, 20),
    "base 4-shot": system("base 4-shot", 1, 0.1, 20),
    "sft": system("sft", 20, 0.5, 30),
    "reward": Evaluation("reward", "test", pairs=[1.0] * 36 + [0.0] * 4),
    "dpo": system("dpo", 20, 0.6, 30),
    "grpo": system("grpo", 12, 0.55, 38),
}


def sweep(name: str) -> SimpleNamespace:
    return SimpleNamespace(
        version=SimpleNamespace(name=f"arithmetic-smoke/{name}:1"),
        trials=[1, 2, 3],
        pruned=1,
        failed=0,
        best=SimpleNamespace(params={"lora.r": 8}),
    )


def test_every_stage_stands_beside_its_parent() -> None:
    stages = summary(RECIPE, {name: sweep(name) for name in RECIPE.stages}, MEASURED)
    assert stages["sft"]["accuracy"] == 0.5 and stages["sft"]["parent_accuracy"] == 0.05
    assert stages["dpo"]["parent_pair_accuracy"] == 0.75
    parent = RECIPE.stages["grpo"].parent
    assert stages["grpo"]["parent_mean_reward"] == MEASURED[parent].metrics()["mean_reward"]
    assert stages["reward"]["longer_rule"] == pair_rule(RECIPE, "reward")
    assert stages["sft"]["trials"] == 3 and stages["sft"]["pruned"] == 1
    assert stages["sft"]["best"] == {"lora.r": 8}


def test_verdicts_do_not_flatter() -> None:
    said = {line.split(":")[0]: line for line in verdicts(RECIPE, MEASURED, "base 4-shot")}
    assert said["sft"].endswith("against base: better")
    assert said["dpo"].endswith("against sft: not clearly different")
    assert said["grpo"].endswith("against dpo: worse")
    assert "90.0% of pairs right; beats" in said["reward"]
    assert "2.5%" in said["worked examples alone"] and "5.0%" in said["worked examples alone"]


def test_the_table_fits_a_terminal() -> None:
    out = io.StringIO()
    names = {name: f"arithmetic/{name}:1" for name in RECIPE.stages}
    Console(file=out, width=80).print(table(MEASURED, names, ITEMS))
    text = out.getvalue()
    for name in (*MEASURED, *names.values(), "50.0%"):
        assert name in text
