"""Results as a person reads them: shares in percent, differences in points, intervals. Pure."""

from __future__ import annotations

import math

from align.adapters.manifest import PairedDifference
from align.evaluation.comparison import verdict
from align.evaluation.metrics import SHARES, is_share
from align.evaluation.statistics import Paired

_IN_PERCENT = SHARES | {"repetition", "train/frac_reward_zero_std"}


def figure_text(measure: str, value: float | None) -> str:
    """`50.0 %` of a share, `1.234` of another measure, a dash for None and NaN."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.1%}".replace("%", " %") if _in_percent(measure) else f"{value:.4g}"


def interval_text(measure: str, low: float | None, high: float | None) -> str:
    """`32.0 to 68.0 %` or `1.2 to 1.3`; empty where there is no interval."""
    if low is None or high is None or math.isnan(low):
        return ""
    if _in_percent(measure):
        return f"{100 * low:.1f} to {100 * high:.1f} %"
    return f"{low:.4g} to {high:.4g}"


def estimate_text(measure: str, value: float, low: float | None, high: float | None) -> str:
    """`50.0 % (32.0 to 68.0)`; the value alone where there is no interval."""
    interval = interval_text(measure, low, high).removesuffix(" %")
    return figure_text(measure, value) + (f" ({interval})" if interval else "")


def difference_text(measure: str, gain: Paired) -> str:
    """`+25.0 (+10.0 to +37.5) points` or `+0.1 (+0.05 to +0.15)`, or why there is no interval."""
    scale, form, unit = (100, "+.1f", " points") if _in_percent(measure) else (1, "+.3g", "")
    low, middle, high = (
        format(scale * value, form) for value in (gain.low, gain.difference, gain.high)
    )
    if not math.isnan(gain.low):
        return f"{middle} ({low} to {high}){unit}"
    if gain.count == 0:
        return "not measured"
    reason = "1 item" if gain.count == 1 else f"no spread in {gain.count} items"
    return f"{middle}{unit} ({reason})"


def stored_difference_text(measure: str, stored: PairedDifference | None) -> str:
    """`difference_text` of a manifest's difference; a dash where there is none."""
    if stored is None:
        return "–"
    if stored.difference == 0 and stored.low in (0, None):
        return f"none in {stored.items} items"
    low, high = (math.nan if bound is None else bound for bound in (stored.low, stored.high))
    return difference_text(measure, Paired(stored.difference, low, high, stored.items))


def evidence_text(measure: str, gain: Paired) -> str:
    """`not shown to differ: 8 of 64 items higher, 5 lower, p = 0.58`, or `better: …`."""
    word = verdict(measure, gain)
    text = "not shown to differ" if word == "not clearly different" else word
    if gain.p_value is None:
        return f"{text} on {gain.count} items"
    return (
        f"{text}: {gain.higher} of {gain.count} items higher, {gain.lower} lower, "
        f"p = {gain.p_value:.2g}"
    )


def _in_percent(measure: str) -> bool:
    return is_share(measure) or measure in _IN_PERCENT
