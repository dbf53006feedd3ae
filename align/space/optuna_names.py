"""A recipe's names for samplers and pruners, most of them Optuna's. Does not import Optuna."""

from __future__ import annotations

from collections.abc import Mapping

from align.suggestions import did_you_mean

#: Short names of `optuna.samplers`; class names are accepted too.
SAMPLERS: dict[str, str] = {
    "tpe": "TPESampler",
    "random": "RandomSampler",
    "gp": "GPSampler",
    "cmaes": "CmaEsSampler",
    "qmc": "QMCSampler",
    "grid": "GridSampler",
    "brute_force": "BruteForceSampler",
    "nsga2": "NSGAIISampler",
    "nsga3": "NSGAIIISampler",
    "partial_fixed": "PartialFixedSampler",
}
#: Alignery's own pruner: see `sweeps.study.paired_pruning`.
PAIRED = "paired"
#: Short names of `optuna.pruners`; class names are accepted too.
PRUNERS: dict[str, str] = {
    PAIRED: PAIRED,
    "successive_halving": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
    "median": "MedianPruner",
    "percentile": "PercentilePruner",
    "patient": "PatientPruner",
    "threshold": "ThresholdPruner",
    "wilcoxon": "WilcoxonPruner",
    "none": "NopPruner",
}


def class_name(name: str, table: Mapping[str, str]) -> str:
    """Optuna's class for a short name or class name. ValueError lists the allowed names."""
    if name in table.values():
        return name
    if name in table:
        return table[name]
    allowed = f"allowed: {', '.join(table)}, or the name of Optuna's class"
    hint = did_you_mean(name, (*table, *table.values()), ignore_case=True, after=" ")
    raise ValueError(f"{hint}{allowed}; got {name!r}")
