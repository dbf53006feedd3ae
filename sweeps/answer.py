"""The answer of a finished search: what it gained, how sure that is, and what it cost. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from align.evaluation.comparison import verdict
from align.evaluation.result_text import difference_text
from align.evaluation.statistics import Paired
from sweeps.finalists import Entry, Standing
from sweeps.trials import DEFAULT, TrialSummary


@dataclass(frozen=True)
class Cost:
    """The cost of a search: its duration, and the time that workers were measured at work.

    `usd` is the price of the workers' time; None if the run was given no price.
    """

    seconds: float
    worker_seconds: float
    usd: float | None = None

    @property
    def text(self) -> str:
        """`38 min, 1.2 worker-hours, 0.42 USD`."""
        money = "" if self.usd is None else f", {self.usd:.2g} USD"
        return f"{_duration(self.seconds)}, {self.worker_seconds / 3600:.2g} worker-hours{money}"


def cost(seconds: float, trials: Sequence[TrialSummary], usd_per_hour: float | None = None) -> Cost:
    """The cost of a search of `seconds`; the workers' time is that of all trials' milestones.

    `usd_per_hour` is the price of an hour of a trial.
    """
    worked = sum(trial.seconds for trial in trials)
    return Cost(seconds, worked, None if usd_per_hour is None else worked / 3600 * usd_per_hour)


def answer_lines(unseen: Standing, spent: Cost) -> list[str]:
    """Gain over the default, over parent and base, and the cost: a line for each."""
    lines = [over_default_text(unseen)]
    winner = unseen.winner
    for name, gain in (("parent", winner.against_parent), ("base", winner.against_base)):
        if gain is not None:
            lines.append(f"Over the {name}: {gain_text(unseen.measure, gain)}")
    return [*lines, f"Cost of the search: {spent.text}{_price_of_gain(unseen, spent)}"]


def plain_answer(unseen: Standing, spent: Cost) -> dict[str, Any]:
    """The answer as JSON. `over_default` is the challenger's difference to the default."""
    challenger = unseen.challenger
    return {
        "over_default": plain_over_default(unseen),
        "over_parent": _plain(unseen.winner.against_parent),
        "over_base": _plain(unseen.winner.against_base),
        "default_won": unseen.chosen == DEFAULT,
        "challenger": None if challenger is None else challenger.number,
        "seconds": spent.seconds,
        "worker_seconds": spent.worker_seconds,
        "usd": spent.usd,
        "text": answer_lines(unseen, spent),
    }


def plain_over_default(unseen: Standing) -> dict[str, Any] | None:
    """The challenger's difference to the default as JSON; None if it is not known."""
    challenger = unseen.challenger
    if challenger is None or challenger.against_default is None:
        return None
    return {
        "measure": unseen.measure,
        "trial": challenger.number,
        "default_won": unseen.chosen == DEFAULT,
        **challenger.against_default.plain(),
        "probability": unseen.probability,
    }


def gain_text(measure: str, gain: Paired) -> str:
    """`+4.5 (+1.0 to +8.0) points, better`, with what the items show."""
    word = verdict(measure, gain)
    shown = "not shown to differ" if word == "not clearly different" else f"shown {word}"
    return f"{difference_text(measure, gain)}, {shown} on {gain.count} items"


def probability_text(probability: float | None) -> str:
    """`97 %`, never 0 or 100; a dash where it is not known."""
    if probability is None:
        return "–"
    if probability > 0.99:
        return "over 99 %"
    return "under 1 %" if probability < 0.01 else f"{probability:.0%}".replace("%", " %")


def over_default_text(unseen: Standing) -> str:
    """The winner's gain over the default and how sure it is, or that the default is as good."""
    challenger = unseen.challenger
    if unseen.chosen == DEFAULT:
        return _default_won(unseen, challenger)
    name = f"Trial {unseen.chosen}"
    if unseen.winner.against_default is None:
        return f"{name} won; how it compares with the default on unseen items is not known"
    gain = unseen.winner.against_default
    text = f"{name} over the default: {unseen.measure} {gain_text(unseen.measure, gain)}"
    if unseen.probability is not None:
        text += f"; really better with a probability of {probability_text(unseen.probability)}"
    if not unseen.winner.feasible:
        text += "; it breaks a constraint"
    return text


def _default_won(unseen: Standing, challenger: Entry | None) -> str:
    broken = "" if unseen.winner.feasible else "; the default breaks a constraint"
    if challenger is None or challenger.against_default is None:
        return f"The default won: no other configuration was compared on unseen items{broken}"
    gain = challenger.against_default
    text = (
        "The default is as good: no tried configuration was shown better. The best other, trial "
        f"{challenger.number}, has {unseen.measure} {difference_text(unseen.measure, gain)} to it "
        f"on {gain.count} items"
    )
    if unseen.probability is not None:
        chance = probability_text(unseen.probability)
        text += f"; the probability that it is really better is {chance}"
    return text + broken


def _price_of_gain(unseen: Standing, spent: Cost) -> str:
    gain = unseen.winner.against_default
    if gain is None:
        return ""
    text = difference_text(unseen.measure, gain)
    difference, unit = text.split(" (")[0], " points" if text.endswith("points") else ""
    return f"; {difference}{unit} for {_duration(spent.seconds)}"


def _plain(gain: Paired | None) -> dict[str, float | None] | None:
    return None if gain is None else gain.plain()


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
