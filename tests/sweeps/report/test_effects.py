"""What each searched field did, with intervals that hold."""

import math

import numpy as np

from sweeps.report.effects import effects, effects_told
from sweeps.report.page import page
from sweeps.trials import TrialSummary
from tests.sweeps.reporting import report, stage


def trials(objectives, ranks=(4, 8, 16), rates=(1e-4,)):
    found = []
    for number, value in enumerate(objectives):
        params = {
            "lora.r": ranks[number % len(ranks)],
            "learning_rate": rates[number % len(rates)],
        }
        measured = {"objective": value}
        found.append(TrialSummary(number, "COMPLETE", params, value, 30, measured, {30: measured}))
    return found


def of(found, name):
    return [effect for effect in found if effect.field == name]


def test_a_field_that_decides_has_an_interval_without_zero_and_another_has_not():
    generator = np.random.default_rng(0)
    rates = [10 ** -(2 + index / 4) for index in range(12)]
    values = [0.5 + 0.3 * (index < 4) + 0.01 * generator.normal() for index in range(12)]
    found = effects(stage(trials(values, rates=rates)))
    lowest, middle, highest = of(found, "learning_rate")
    assert highest.difference > 0.2 and highest.low > 0 and highest.trials == 4
    assert lowest.difference < 0 and middle.difference < 0
    assert highest.value == "0.00178 to 0.01"
    assert all(effect.low < 0 < effect.high for effect in of(found, "lora.r"))


def test_where_nothing_differs_few_fields_seem_to():
    generator = np.random.default_rng(1)
    runs = [effects(stage(trials(generator.normal(size=9)))) for _ in range(200)]
    shown = [any(e.low > 0 or e.high < 0 for e in of(found, "lora.r")) for found in runs]
    assert np.mean(shown) <= 0.08  # 5 % and two standard errors


def test_few_trials_equal_values_and_lone_trials_claim_nothing():
    few = stage(trials([0.5, 0.6, 0.7, 0.8]))
    assert effects(few) == [] and effects_told(few) == "4 complete trials are too few to tell."
    assert effects_told(stage([])) == "0 complete trials are too few to tell."
    alike = effects(stage(trials([0.5] * 9)))
    assert all(math.isnan(effect.low) and effect.difference == 0 for effect in alike)
    assert of(alike, "learning_rate") == []  # all have the same
    lone = effects(stage(trials([0.5, 0.6, 0.7, 0.55, 0.65, 0.75], ranks=(4, 4, 4, 4, 4, 8))))
    assert all(math.isnan(effect.low) for effect in lone)
    assert "the intervals are wide" in effects_told(stage(trials([0.5] * 9)))


def test_the_page_says_what_each_field_did():
    text = page(report(stage(trials([0.5, 0.6, 0.7] * 3))), {}, ())
    assert "What each searched field did" in text and "against the others" in text
    text = page(report(stage(trials([0.5, 0.6]))), {}, ())
    assert "2 complete trials are too few to tell." in text
