"""Validation of an experiment's design. Pure: raises ExperimentError or returns nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from serve.errors import ExperimentError
from serve.experiments.report import VariantSpec

#: The model without an adapter; every endpoint serves it.
BASE = "base"

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


def check_design(
    name: str, variants: Sequence[VariantSpec], control: str, planned_users: int, alpha: float
) -> None:
    """ExperimentError, which says what is allowed, unless the design is valid."""
    if name == BASE or not _NAME.fullmatch(name):
        raise ExperimentError(
            f"'{name}' cannot name an experiment; expected e.g. sft-or-base: lowercase letters, "
            f"digits, - _ ., at most 64 characters, and not '{BASE}'"
        )
    _check_variants(variants, control)
    if not 2 <= planned_users <= 10**9:
        raise ExperimentError(
            f"planned users: {planned_users} is not allowed; expected 2 to 1000000000, the number "
            "of users whose feedback you expect to have in the end"
        )
    if not 1e-6 <= alpha <= 0.5:
        raise ExperimentError(f"alpha: {alpha} is not allowed; expected 0.000001 to 0.5, e.g. 0.05")


def _check_variants(variants: Sequence[VariantSpec], control: str) -> None:
    names = [variant.name for variant in variants]
    if len(names) < 2:
        raise ExperimentError("an experiment needs a control and at least one treatment")
    for name in names:
        if not _NAME.fullmatch(name):
            raise ExperimentError(
                f"'{name}' cannot name a variant; expected lowercase letters, digits, - _ ."
            )
    if len(set(names)) < len(names):
        raise ExperimentError(f"two variants have one name: {', '.join(names)}")
    if control not in names:
        raise ExperimentError(f"control '{control}' is no variant; have {', '.join(names)}")
