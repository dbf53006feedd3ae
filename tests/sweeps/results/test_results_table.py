"""The final table says what the figures say, good or bad."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from align.evaluation.comparison import Compared
from align.evaluation.metrics import Evaluation
from align.evaluation.statistics import Paired
from align.recipe import load_recipe
from sweeps.finalists import Entry, Standing
from sweeps.results.results_table import pair_rule, summary, table, verdicts
from sweeps.trials import TrialSummary

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


MORE = [TrialSummary(number, "PRUNED", {}, 0.1, 5) for number in (1, 2)]


def sweep(name: str) -> SimpleNamespace:
    return SimpleNamespace(
        version=SimpleNamespace(name=f"arithmetic-smoke/{name}:1"),
        trials=[TrialSummary(0, "COMPLETE", {}, 0.45, 10), *MORE],
        pruned=1,
        failed=0,
        best=SimpleNamespace(params={"lora.r": 8}, number=2, objective=0.5),
        gain=None,
        unseen=None,
    )


def unseen(chosen: int, *systems: Entry) -> Standing:
    return Standing("test", ITEMS, "accuracy", False, chosen, 2, systems, 0.97)


def entry(number: int, gain: Paired | None = None) -> Entry:
    return Entry(f"trial {number}", number, 0.5, 0.4, 0.6, {}, True, gain)


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
    assert "against base: better: 18 of 40 items higher, 0 lower" in said["sft"]
    assert said["dpo"].endswith(
        "+0.0 (-6.4 to +6.4) points against sft: not shown to differ: 0 of 40 items higher, "
        "0 lower, p = 1"
    )
    assert "against dpo: worse: 0 of 40 items higher, 40 lower" in said["grpo"]
    assert "90.0% of pairs right; beats" in said["reward"]
    assert "2.5%" in said["worked examples alone"] and "5.0%" in said["worked examples alone"]


def test_nothing_measured_is_said_and_no_share() -> None:
    nothing = {**MEASURED, "reward": Evaluation("reward", "test")}
    assert "reward: no pair was measured" in verdicts(RECIPE, nothing)
    assert summary(RECIPE, {"reward": sweep("reward")}, nothing)["reward"]["pair_interval"] is None
    bare = {**MEASURED, "sft": Evaluation("sft", "test")}
    assert summary(RECIPE, {"sft": sweep("sft")}, bare)["sft"]["accuracy_interval"] is None


def test_a_reward_that_failed_on_an_item_is_left_out_and_the_items_are_counted() -> None:
    failed = system("dpo", 20, 0.6, 30)
    failed.reward[0] = float("nan")
    entry = summary(RECIPE, {"dpo": sweep("dpo")}, {**MEASURED, "dpo": failed})["dpo"]
    assert entry["mean_reward_gain"] == [pytest.approx(0.1), None, None]


def test_the_best_stands_beside_the_default() -> None:
    one = sweep("sft")
    said = verdicts(RECIPE, MEASURED, sweeps={"sft": one})[-1]
    assert said == "sft, the search: best accuracy 0.5 (trial 2), default 0.45"
    one.gain = Compared("accuracy", 0.5, 0.45, Paired(0.05, 0.01, 0.09, ITEMS))
    said = verdicts(RECIPE, MEASURED, sweeps={"sft": one})[-1]
    assert said.endswith("default 0.45, difference +5.0 (+1.0 to +9.0) points: better on 40 items")
    one.best.number = 0
    assert verdicts(RECIPE, MEASURED, sweeps={"sft": one})[-1].endswith("which is the default")
    entry = summary(RECIPE, {"sft": one}, MEASURED)["sft"]
    assert entry["default_gain"] == [0.05, 0.01, 0.09]


def test_long_names_are_wrapped_and_no_figure_is_cut() -> None:
    out, name = io.StringIO(), "a-recipe-of-a-long-name" * 3
    one = sweep("sft")
    one.version.name = f"{name}/sft:1"
    Console(file=out, width=80).print(table(MEASURED, {"sft": one}, ITEMS))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in out.getvalue()
    assert "50.0%" in out.getvalue() and "35%–65%" in out.getvalue()


def test_the_table_fits_a_terminal() -> None:
    out = io.StringIO()
    names = {name: f"arithmetic/{name}:1" for name in RECIPE.stages}
    sweeps = {name: sweep(name) for name in names}
    for name, one in sweeps.items():
        one.version.name = names[name]
        one.unseen = unseen(2, entry(0), entry(2, Paired(-0.105, -0.2, -0.01, ITEMS)))
    Console(file=out, width=80).print(table(MEASURED, sweeps, ITEMS))
    text = out.getvalue()
    for name in (*MEASURED, *names.values(), "50.0%"):
        assert name in text


def test_every_stage_has_its_gain_over_the_default_on_unseen_items() -> None:
    won, lost, older = sweep("sft"), sweep("dpo"), sweep("grpo")
    won.unseen = unseen(2, entry(0), entry(2, Paired(0.045, 0.01, 0.08, ITEMS)))
    lost.best.number = 0
    lost.unseen = unseen(0, entry(0), entry(2, Paired(-0.01, -0.05, 0.03, ITEMS)))
    sweeps = {"sft": won, "dpo": lost, "grpo": older}
    out = io.StringIO()
    Console(file=out, width=80).print(table(MEASURED, sweeps, ITEMS))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    assert "+4.5" in text and "+1.0 to +8.0" in text and "won" in text
    stages = summary(RECIPE, sweeps, MEASURED)
    assert stages["sft"]["over_default"]["difference"] == 0.045
    assert stages["sft"]["over_default"]["probability"] == 0.97
    assert stages["dpo"]["over_default"]["default_won"] is True
    assert stages["dpo"]["over_default"]["trial"] == 2
    assert stages["grpo"]["over_default"] is None
    said = verdicts(RECIPE, MEASURED, sweeps=sweeps)[-3:]
    assert said[0].startswith("sft, the search: Trial 2 over the default: accuracy +4.5 (+1.0 to")
    assert "The default is as good: no tried configuration was shown better" in said[1]
    assert "-1.0 (-5.0 to +3.0) points" in said[1]
    assert said[2].startswith("grpo, the search: best")
