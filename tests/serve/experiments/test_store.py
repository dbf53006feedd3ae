"""Experiments from start to verdict, on SQLite."""

from __future__ import annotations

import pytest

from cluster.errors import AdapterNotFound
from serve.errors import AnswerNotFound, ExperimentError, ExperimentNotFound
from serve.experiments import Experiments, VariantSpec
from tests.serve.serve_fakes import BASE

ARMS = (
    VariantSpec(name="control", model="base"),
    VariantSpec(name="treatment", model="arithmetic/sft@champion"),
)


def feed(experiments: Experiments, name: str, variant: str, verdicts: list[float | None]) -> None:
    """One user for each verdict; None gives none."""
    for number, verdict in enumerate(verdicts):
        request_id = f"{name}-{variant}-{number}"
        experiments.record_exposures(
            [(request_id, name, f"{variant}-user-{number}", variant, None)]
        )
        if verdict is not None:
            experiments.record_feedback(request_id, verdict)


def test_an_alias_is_pinned_to_the_version_it_names_at_the_start(experiments, adapters):
    info = experiments.start("trial", ARMS, "control", 200)
    adapters.registry.promote("arithmetic/sft", 2)
    assert [one.model for one in info.variants] == ["base", "arithmetic/sft:1"]
    assert experiments.get("trial") == info
    assert [one.name for one in experiments.running()] == ["trial"]


def test_a_clear_difference_names_the_winner_and_the_next_command(experiments):
    experiments.start("trial", ARMS, "control", 200)
    feed(experiments, "trial", "control", [0.0] * 70 + [1.0] * 30)
    feed(experiments, "trial", "treatment", [0.0] * 30 + [1.0] * 65)
    report = experiments.report("trial")
    assert report.decision == "treatment wins"
    assert "alignery adapter promote arithmetic/sft:1" in report.recommendation
    (comparison,) = report.comparisons
    assert comparison.low > 0 and comparison.e_value > 20 and comparison.p_value < 0.05
    control, treatment = report.variants
    assert (control.users, control.answers, control.rated_users, control.mean) == (
        100,
        100,
        100,
        0.3,
    )
    assert treatment.users == 95


def test_a_worse_treatment_loses(experiments):
    experiments.start("trial", ARMS, "control", 200)
    feed(experiments, "trial", "control", [1.0] * 80)
    feed(experiments, "trial", "treatment", [0.0] * 60 + [1.0] * 20)
    assert experiments.report("trial").decision == "control wins"


def test_nothing_is_decided_without_feedback(experiments):
    experiments.start("trial", ARMS, "control", 200)
    assert experiments.report("trial").decision == "undecided"
    feed(experiments, "trial", "control", [None] * 12)
    feed(experiments, "trial", "treatment", [None] * 11)
    report = experiments.report("trial")
    assert report.decision == "undecided"
    assert "/v1/feedback" in report.recommendation
    assert [one.mean for one in report.variants] == [None, None]
    assert "NaN" not in report.model_dump_json()


def test_equal_variants_stay_undecided_to_the_planned_size(experiments):
    experiments.start("trial", ARMS, "control", 60)
    for variant in ("control", "treatment"):
        feed(experiments, "trial", variant, [0.0, 1.0] * 20)
    report = experiments.report("trial")
    assert report.decision == "undecided"
    assert report.recommendation.startswith("The planned number is reached")


def test_a_user_counts_once_however_much_they_ask(experiments):
    experiments.start("trial", ARMS, "control", 200)
    for number in range(50):
        experiments.record_exposures([(f"r{number}", "trial", "ada", "control", None)])
        experiments.record_feedback(f"r{number}", number % 2)
    control = experiments.report("trial").variants[0]
    assert (control.users, control.answers, control.rated_users) == (1, 50, 1)
    assert control.mean == 0.5 and control.low is None


def test_the_last_feedback_counts(experiments):
    experiments.start("trial", ARMS, "control", 200)
    experiments.record_exposures([("r", "trial", "ada", "control", None)])
    assert experiments.record_feedback("r", 0.0) == "trial"
    experiments.record_feedback("r", 1.0, "on reflection")
    assert experiments.report("trial").variants[0].mean == 1.0


def test_a_skewed_split_is_not_trusted_whatever_the_means_say(experiments):
    experiments.start("trial", ARMS, "control", 200)
    feed(experiments, "trial", "control", [0.0] * 40)
    feed(experiments, "trial", "treatment", [1.0] * 160)
    report = experiments.report("trial")
    assert report.decision == "sample ratio mismatch: do not trust"
    assert not report.sample_ratio.ok


def test_several_treatments_share_alpha_and_the_best_wins(experiments):
    arms = [
        VariantSpec(name="control", model="base"),
        VariantSpec(name="good", model="arithmetic/sft:1"),
        VariantSpec(name="better", model="arithmetic/sft:2"),
    ]
    experiments.start("trial", arms, "control", 300)
    feed(experiments, "trial", "control", [0.0] * 80 + [1.0] * 20)
    feed(experiments, "trial", "good", [0.0] * 40 + [1.0] * 60)
    feed(experiments, "trial", "better", [0.0] * 15 + [1.0] * 85)
    report = experiments.report("trial")
    assert report.decision == "better wins"
    assert {one.alpha for one in report.comparisons} == {0.025}
    assert {one.verdict for one in report.comparisons} == {"better"}


def test_a_stopped_experiment_takes_late_feedback_and_no_second_stop(experiments):
    experiments.start("trial", ARMS, "control", 200)
    experiments.record_exposures([("r", "trial", "ada", "control", None)])
    info = experiments.stop("trial", "enough")
    assert (info.state, info.reason) == ("stopped", "enough") and info.stopped_at
    assert experiments.running() == []
    experiments.record_feedback("r", 1.0)
    assert experiments.report("trial").state == "stopped"
    with pytest.raises(ExperimentError, match="was stopped before"):
        experiments.stop("trial")


def test_a_name_is_taken_once(experiments):
    experiments.start("trial", ARMS, "control", 200)
    experiments.stop("trial")
    with pytest.raises(ExperimentError, match="exists already"):
        experiments.start("trial", ARMS, "control", 200)


@pytest.mark.parametrize(
    ("model", "error", "text"),
    [
        ("arithmetic/reward:1", ExperimentError, "scores and cannot answer"),
        ("arithmetic/sft:9", AdapterNotFound, "did you mean arithmetic/sft:"),
        ("nonsense", AdapterNotFound, "adapter list"),
    ],
)
def test_a_variant_must_be_a_model_that_answers(experiments, model, error, text):
    arms = [ARMS[0], VariantSpec(name="treatment", model=model)]
    with pytest.raises(error, match=text):
        experiments.start("trial", arms, "control", 200)
    assert experiments.every() == []


def test_variants_of_two_bases_are_refused(experiments):
    arms = [
        VariantSpec(name="control", model="arithmetic/sft:1"),
        VariantSpec(name="treatment", model="elsewhere/sft:1"),
    ]
    with pytest.raises(ExperimentError, match=f"needs {BASE}.*needs another-base"):
        experiments.start("trial", arms, "control", 200)


def test_unknown_names_and_answers(experiments):
    experiments.start("trial", ARMS, "control", 200)
    with pytest.raises(ExperimentNotFound, match="did you mean trial"):
        experiments.report("tril")
    with pytest.raises(AnswerNotFound, match="no answer of an experiment"):
        experiments.record_feedback("chatcmpl-nothing", 1.0)
