"""A/B tests: who sees which variant, what they said, and what may be concluded."""

from serve.experiments.report import ExperimentInfo, Report, VariantSpec
from serve.experiments.store import Experiments, open_experiments

__all__ = ["ExperimentInfo", "Experiments", "Report", "VariantSpec", "open_experiments"]
