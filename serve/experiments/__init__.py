"""A/B tests: who sees which variant, what they said, and what may be concluded."""

from serve.experiments.report import ExperimentInfo, ExperimentReport, VariantSpec
from serve.experiments.store import Experiments, open_experiments

__all__ = ["ExperimentInfo", "ExperimentReport", "Experiments", "VariantSpec", "open_experiments"]
