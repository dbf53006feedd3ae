"""Tables on a terminal, 80 columns wide."""

from __future__ import annotations

import io
from datetime import UTC, datetime

from rich.console import Console

from serve.access.key import Key
from serve.display import print_experiments, print_keys, print_report
from serve.experiments.report import ExperimentInfo, Outcomes, VariantSpec, analyse

AT = datetime(2026, 1, 1, tzinfo=UTC)


def printed(show, what):
    file = io.StringIO()
    show(what, Console(file=file, width=80))
    lines = file.getvalue().splitlines()
    # A recommendation has a command to copy, and is not broken.
    assert max(len(line) for line in lines if not line.startswith("next: ")) <= 80
    return lines


def test_a_key_is_shown_without_its_digest_and_no_limit_is_a_dash():
    free = Key("0a1b2c3d", "website", "d" * 64, frozenset({"infer", "admin"}), None, None, AT)
    small = Key("11111111", "few", "e" * 64, frozenset({"infer"}), 60, 1_500_000, AT, AT)
    _, first, second = printed(print_keys, [free, small])
    assert first.split() == ["website", "alk-0a1b2c3d", "admin", "infer", "–", "–", "good"]
    assert second.split() == ["few", "alk-11111111", "infer", "60", "1,500,000", "revoked"]


def report(**outcomes):
    variants = [
        VariantSpec(name="control", model="base"),
        VariantSpec(name="treatment", model="a-long-recipe-name/sft-with-a-long-name:12"),
    ]
    info = ExperimentInfo(
        name="trial", variants=variants, control="control", planned_users=200, alpha=0.05
    )
    return analyse(info, outcomes)


def test_long_names_are_wrapped_and_not_cut():
    long = "a-long-name-" * 5 + "end"
    key = Key("0a1b2c3d", long, "d" * 64, frozenset({"infer"}), None, None, AT)
    variants = [VariantSpec(name="control", model="base"), VariantSpec(name=long, model="b/sft:1")]
    info = ExperimentInfo(
        name="trial", variants=variants, control="control", planned_users=200, alpha=0.05
    )
    for show, what in ((print_keys, [key]), (print_report, analyse(info, {}))):
        lines = printed(show, what)
        starts = "".join(line.split(" ")[0] for line in lines[1:])
        assert long in starts and "…" not in "".join(lines)


def test_experiments_are_a_line_each_in_a_pipe(capsys):
    variants = [
        VariantSpec(name="control", model="base"),
        VariantSpec(name="treatment", model="a-long-recipe-name/sft-with-a-long-name:12"),
    ]
    info = ExperimentInfo(
        name="trial", variants=variants, control="control", planned_users=200, alpha=0.05
    )
    print_experiments([info])
    title, row = capsys.readouterr().out.splitlines()
    assert title.split()[:3] == ["experiment", "state", "variants"]
    assert "control = base, treatment = a-long-recipe-name/sft-with-a-long-name:12" in row


def test_a_report_without_users_has_dashes():
    lines = printed(print_report, report())
    assert lines[0] == "experiment trial: 0 of 200 planned users rated, alpha 0.05"
    control = next(line for line in lines if line.startswith("control"))
    assert control.split() == ["control", "base", "0", "0", "–"]
    assert "nan" not in "\n".join(lines).lower() and "decision: undecided" in lines


def test_a_winner_has_its_difference_with_a_sign():
    arms = {
        "control": Outcomes(users=60, answers=60, means=[0.0] * 48 + [1.0] * 12),
        "treatment": Outcomes(users=60, answers=60, means=[0.0] * 6 + [1.0] * 54),
    }
    lines = printed(print_report, report(**arms))
    treatment = next(line for line in lines if line.startswith("treatment"))
    assert "0.900" in treatment and "+0.700" in treatment
    assert "decision: treatment wins" in lines
    assert not any("do not arrive by the weights" in line for line in lines)


def test_a_skewed_split_is_told():
    arms = {"control": Outcomes(users=300), "treatment": Outcomes(users=100)}
    assert any(
        "users do not arrive by the weights" in one for one in printed(print_report, report(**arms))
    )
