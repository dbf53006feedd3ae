"""Both searches, and the best of each on rows that no search saw."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from align.data.splits import load_split
from align.evaluation.metrics import Evaluation, compare, paired
from align.preflight import check_inputs
from align.recipe import Recipe, parse_recipe
from cluster.ray import ray_session
from cluster.settings import Settings
from sweeps.pipeline import run_pipeline
from sweeps.progress import Progress
from sweeps.results.final_evaluation import System, evaluate_many

RECIPE = Path(__file__).parent / "recipe.yaml"


def load(data: Path, trials: int) -> Recipe:
    """The recipe on the files of this folder."""
    raw = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    for stage in raw["stages"].values():
        stage["sweep"]["trials"] = trials
    return parse_recipe(raw, str(RECIPE), folder=data)


def measure(recipe: Recipe, fresh: bool) -> dict[str, Any]:
    """Search, then compare champions with what they have to beat."""
    check_inputs(recipe)
    settings = Settings()
    with ray_session(settings):
        with Progress(Console(stderr=True)) as progress:
            sweeps = run_pipeline(settings, recipe, fresh=fresh, on_event=progress)
        best = {name: sweep.version for name, sweep in sweeps.items()}
        systems = [
            System("base"),
            System("sft", adapter=best["sft"], stage="sft"),
            System("reward", adapter=best["reward"], stage="reward"),
        ]
        base, sft, reward = evaluate_many(settings, recipe, systems)
    return {
        "sft": {"adapter": best["sft"].name, **_likelihoods(sft, base)},
        "reward": {"adapter": best["reward"].name, **_pairs(reward, recipe)},
        "trials": {
            name: [asdict(trial) for trial in sweep.trials] for name, sweep in sweeps.items()
        },
        "seconds": {name: sweep.seconds for name, sweep in sweeps.items()},
    }


def _likelihoods(sft: Evaluation, base: Evaluation) -> dict[str, Any]:
    return {
        "rows": len(sft.nll),
        "nll": fmean(sft.nll),
        "base_nll": fmean(base.nll),
        "difference": paired(sft.nll, base.nll).plain(),
    }


def _pairs(reward: Evaluation, recipe: Recipe) -> dict[str, Any]:
    rows = load_split(recipe, "reward", "test")
    rule = [compare(_characters(row["chosen"]), _characters(row["rejected"])) for row in rows]
    return {
        "pairs": len(rows),
        "pair_accuracy": fmean(reward.pairs),
        "longer_rule": fmean(rule),
        "difference": paired(reward.pairs, rule, share=True).plain(),
    }


def _characters(turns: list[dict[str, str]]) -> int:
    return sum(len(turn["content"]) for turn in turns)


def table(result: dict[str, Any]) -> Table:
    """Each champion beside what it has to beat."""
    shown = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("champion", "measured", "", "against", "", "difference", "95 %"):
        shown.add_column(column, justify="left" if column else "right", no_wrap=True)
    sft, reward = result["sft"], result["reward"]
    shown.add_row(
        sft["adapter"],
        f"nats a token, {sft['rows']} rows",
        f"{sft['nll']:.3f}",
        "the base",
        f"{sft['base_nll']:.3f}",
        *_difference(sft["difference"]),
    )
    shown.add_row(
        reward["adapter"],
        f"pairs right, {reward['pairs']} pairs",
        f"{reward['pair_accuracy']:.3f}",
        "the longer is right",
        f"{reward['longer_rule']:.3f}",
        *_difference(reward["difference"]),
    )
    return shown


def _difference(one: dict[str, Any]) -> tuple[str, str]:
    if one["low"] is None:
        return f"{one['difference']:+.3f}", f"no spread in {one['count']} rows"
    return f"{one['difference']:+.3f}", f"{one['low']:+.3f} to {one['high']:+.3f}"
