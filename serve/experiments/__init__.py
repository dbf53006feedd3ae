"""A/B tests: assignment of users to variants, exposures and feedback, statistics and reports."""

from serve.experiments.report import ExperimentInfo, ExperimentReport, VariantSpec
from serve.experiments.store import Experiments, open_experiments

__all__ = ["ExperimentInfo", "ExperimentReport", "Experiments", "VariantSpec", "open_experiments"]
