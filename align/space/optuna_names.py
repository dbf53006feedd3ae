"""A recipe's names for Optuna's samplers and pruners. Does not import Optuna."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

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
#: Short names of `optuna.pruners`; class names are accepted too.
PRUNERS: dict[str, str] = {
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
    lower = {known.lower(): known for known in (*table, *table.values())}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    allowed = f"allowed: {', '.join(table)}, or the name of Optuna's class"
    hint = f"did you mean '{lower[near[0]]}'? " if near else ""
    raise ValueError(f"{hint}{allowed}; got {name!r}")
