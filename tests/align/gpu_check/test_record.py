"""The stored result: its shape, its place, and that `recipe fit` reads it."""

import json
from pathlib import Path

from align.gpu_check import facts
from align.gpu_check.check import Outcome, Setting, failed, passed, skipped
from align.gpu_check.record import describe, store, to_json, verdict_of
from align.gpu_check.run import Result
from align.memory.machines import gpu
from align.memory.measured import measured, result_file

CPU = Setting("tiny-random", "cpu", Path())


def results(*outcomes: Outcome) -> list[Result]:
    return [Result(f"check-{number}", outcome, 1.0) for number, outcome in enumerate(outcomes)]


def test_any_failure_fails_the_run() -> None:
    assert verdict_of(results(passed(""), failed(""), skipped(""))) == "FAIL"
    assert verdict_of(results(passed(""), skipped(""))) == "PASS"
    assert verdict_of(results(skipped(""))) == "SKIP"


def test_a_result_names_machine_versions_and_checks(home: Path) -> None:
    plain = to_json(results(passed("good", share=0.5)), describe(CPU))
    assert plain["verdict"] == "PASS" and plain["card"] is None
    assert plain["checks"][0] == {
        "name": "check-0", "verdict": "PASS", "sentence": "good", "figures": {"share": 0.5},
        "seconds": 1.0,
    }  # fmt: skip
    assert plain["versions"]["torch"] and plain["machine"]["cores"]
    file = store(plain)
    assert file == home / "gpu-check" / "cpu.json" == result_file("cpu")
    assert json.loads(file.read_text()) == plain
    assert [path.name for path in file.parent.iterdir()] == ["cpu.json"]


def test_a_folder_as_base_is_not_told() -> None:
    plain = describe(Setting("/home/ada/models/qwen", "cpu", Path()))
    assert plain["base"] == "…/qwen"


def test_the_result_of_a_card_is_what_predictions_use(home: Path, monkeypatch) -> None:
    monkeypatch.setattr(facts, "card", lambda: {"name": "T4", "memory": gpu("T4").memory})
    outcome = failed("it took more", context=700 * 2**20, fragmentation=0.12)
    described = describe(Setting("tiny-random", "cuda", Path()))
    store(to_json([Result("memory", outcome, 1.0)], described))
    used = measured(gpu("T4"))
    assert (used.context, used.fragmentation, used.measured) == (700 * 2**20, 0.12, True)
