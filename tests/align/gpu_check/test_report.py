"""What is printed while checks run, on a terminal and without."""

import io
from pathlib import Path

from rich.console import Console

from align.gpu_check.check import failed, passed, skipped
from align.gpu_check.report import Report
from align.gpu_check.run import Result

LONG = "sixteen adapters of many ranks in a batch equal each alone within a small difference; " * 2


def printed(terminal: bool) -> str:
    out = io.StringIO()
    report = Report(
        Console(file=out, force_terminal=terminal, width=80, no_color=True, highlight=False), 3
    )
    outcomes = [passed("it is [fine]"), failed(LONG.strip()), skipped("no card")]
    for number, outcome in enumerate(outcomes):
        report.start(f"check-{number}", 100.0)
        report.result(Result(f"check-{number}", outcome, 61.0 if number else 1.0), 99.6 - number)
    checks = [{"verdict": outcome.verdict} for outcome in outcomes]
    plain = {"verdict": "FAIL", "checks": checks, "seconds": 63.0}
    report.end(plain, Path("home/gpu-check/cpu.json"))
    return out.getvalue()


def test_without_a_terminal_each_check_is_a_line() -> None:
    lines = printed(terminal=False).splitlines()
    assert lines == [
        "PASS  check-0    it is [fine] (1.0 s, about 1:40 left)",
        f"FAIL  check-1    {LONG.strip()} (61.0 s, about 1:39 left)",
        "SKIP  check-2    no card (61.0 s)",
        "FAIL: 1 passed, 1 failed, 1 skipped in 1:03; the result, for bug reports and "
        "`recipe fit`: home/gpu-check/cpu.json",
    ]


def test_on_a_terminal_lines_are_wrapped_and_the_running_check_is_shown() -> None:
    text = printed(terminal=True)
    assert "1/3 check-0, about 1:40 left" in text
    assert "\n                 " in text
