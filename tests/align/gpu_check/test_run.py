"""Running checks: exceptions are results, and a lost card ends what needs it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from align.gpu_check.check import Check, Outcome, Setting, failed, passed
from align.gpu_check.run import CheckProgress, Result, run_checks

CPU, CARD = (Setting("tiny-random", device, Path()) for device in ("cpu", "cuda"))


def fine(_: Setting) -> Outcome:
    return passed("it is fine", figure=1)


def raising(error: Exception) -> Check:
    def run(_: Setting) -> Outcome:
        raise error

    return Check("broken", run, 1)


def results(checks: list[Check], setting: Setting = CPU) -> list[Result]:
    shown: list[str] = []
    ran = run_checks(checks, setting, lambda name, _: shown.append(name), lambda result, _: None)
    assert shown == [check.name for check in checks]
    return ran


def verdicts(checks: list[Check], setting: Setting = CPU) -> list[str]:
    return [result.outcome.verdict for result in results(checks, setting)]


def test_an_exception_fails_its_check_and_the_next_one_runs() -> None:
    ran = results([raising(KeyError("k")), Check("fine", fine, 1)], CARD)
    assert [result.outcome.verdict for result in ran] == ["FAIL", "PASS"]
    assert ran[0].outcome.sentence.startswith("KeyError: 'k'")
    assert ran[0].frames[-1].startswith(f"{__name__}:run:")
    assert ran[1].frames == ()


def test_after_an_error_of_the_device_the_rest_is_skipped() -> None:
    error = RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might …")
    ran = results([Check("fine", fine, 1), raising(error), Check("later", fine, 1)], CARD)
    assert [result.outcome.verdict for result in ran] == ["PASS", "FAIL", "SKIP"]
    assert "'broken'" in ran[2].outcome.sentence


def test_out_of_memory_leaves_the_card_usable() -> None:
    assert verdicts([raising(torch.OutOfMemoryError("full")), Check("fine", fine, 1)]) == [
        "FAIL",
        "PASS",
    ]


def test_what_needs_a_card_is_skipped_on_a_cpu_with_the_reason() -> None:
    check = Check("graphs", fine, 1, card_only="graphs are a card's")
    assert verdicts([check], CARD) == ["PASS"]
    (result,) = results([check])
    assert (result.outcome.verdict, result.outcome.sentence) == ("SKIP", "graphs are a card's")


def test_a_result_is_plain_and_tells_no_paths() -> None:
    outcome = failed("no file /home/ada/.alignery/models/x.json here", share=0.5)
    plain = Result("a", outcome, 1.234).to_json()
    assert json.loads(json.dumps(plain)) == {
        "name": "a",
        "verdict": "FAIL",
        "sentence": "no file …/x.json here",
        "figures": {"share": 0.5},
        "seconds": 1.23,
    }


def test_the_time_left_follows_what_checks_took() -> None:
    checks = [
        Check(str(seconds), fine, seconds, cpu_seconds=seconds / 2) for seconds in (10, 20, 30)
    ]
    pace = CheckProgress(checks, CARD)
    assert pace.left == 60
    pace.done(20)  # twice as long as expected: half of that is believed
    assert pace.left == 75
    pace.done(60)
    assert pace.left == 67.5
    assert CheckProgress(checks, CPU).left == 30


@pytest.mark.parametrize("message", ["", "\n"])
def test_an_error_without_a_message_is_told(message: str) -> None:
    (result,) = results([raising(ValueError(message))])
    assert result.outcome.sentence.startswith("ValueError: no message")


def test_figures_that_json_lacks_are_text() -> None:
    outcome = failed("it overflows", largest=math.inf, parts={"a": [math.nan, 1.5]}, name="x")
    figures = Result("a", outcome, 1.0).to_json()["figures"]
    assert figures == {"largest": "inf", "parts": {"a": ["nan", 1.5]}, "name": "x"}
