"""The whole loop on a tiny model: sweep, promote, serve, ask, compare, stop, and go on later."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
from typer.testing import CliRunner

import alignery
from tests.waiting import wait_until

RECIPE = "arithmetic-smoke"
STAGES = ("sft", "reward", "dpo", "grpo")
PROGRAM = "import alignery; alignery.main()"
DEMO = ("demo", "--recipe", RECIPE, "--json")
QUESTION: Any = [{"role": "user", "content": "Ana has 12 apples and finds 7 more. How many now?"}]
START_SECONDS, STOP_SECONDS = 400, 60  # far more than it takes on idle cores


@dataclass
class Run:
    """A demo in a process of its own, in the group of processes that Ctrl-C reaches."""

    process: "subprocess.Popen[bytes]"
    folder: Path
    started: list[Any] = field(default_factory=list)

    @classmethod
    def start(cls, folder: Path, *arguments: str) -> "Run":
        folder.mkdir()
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *arguments],
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        return cls(process, folder)

    @property
    def stdout(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def stderr(self) -> str:
        return (self.folder / "err").read_text()

    def result(self) -> dict[str, Any]:
        """The JSON object on stdout, which is all that stands there."""
        deadline = time.monotonic() + START_SECONDS
        while not self.stdout.endswith("\n"):
            assert self.process.poll() in (None, 0), self.stderr
            assert time.monotonic() < deadline, self.stderr
            time.sleep(0.2)
        self.started = psutil.Process(self.process.pid).children(recursive=True)
        found: dict[str, Any] = json.loads(self.stdout)
        return found

    def interrupt(self) -> int:
        """Ctrl-C, as a terminal sends it; the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(STOP_SECONDS)

    def end(self) -> None:
        """End what a failed test has left."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(STOP_SECONDS)


def alive(processes: list[Any], temporary: Path) -> list[str]:
    """Command lines of these processes, and of all that work in a folder, if they still run."""
    found = []
    for one in {*processes, *psutil.process_iter()}:
        try:
            words = " ".join(one.cmdline())
            known = one in processes and one.status() != psutil.STATUS_ZOMBIE
            if known or (words and str(temporary) in words):
                found.append(words)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def temporary() -> Iterator[Path]:
    """Where Ray puts its files; a short path, since its sockets' names have a limit."""
    folder = Path(tempfile.mkdtemp(prefix="e2e-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, temporary: Path) -> Iterator[Path]:
    """A home folder that is not there yet, for all tests of this module."""
    folder = tmp_path_factory.mktemp("e2e") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIGNERY_HOME", str(folder))
        patch.setenv("TMPDIR", str(temporary))
        yield folder


@pytest.fixture(scope="module")
def run(home: Path) -> Iterator[Run]:
    started = Run.start(home.parent / "first", *DEMO, "--users", "30", "--keep-serving")
    yield started
    started.end()


@pytest.fixture(scope="module")
def result(run: Run) -> dict[str, Any]:
    """What the demo printed; its endpoint is up."""
    return run.result()


@pytest.fixture(scope="module")
def stopped(run: Run, result: dict[str, Any]) -> int:
    """The demo's exit code after Ctrl-C."""
    return run.interrupt()


@pytest.fixture
def client(result: dict[str, Any]) -> openai.OpenAI:
    return openai.OpenAI(base_url=result["endpoint"], api_key="none", max_retries=0, timeout=60)


def command(*arguments: str) -> Any:
    """What a command prints with --json, in this process."""
    done = CliRunner().invoke(alignery.app, [*arguments, "--json"])
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def ask(client: openai.OpenAI, model: str, **more: Any) -> Any:
    """A short greedy answer."""
    return client.chat.completions.create(
        model=model, messages=QUESTION, max_tokens=8, temperature=0, **more
    )


def test_the_demo_prints_one_json_object(result: dict[str, Any]) -> None:
    assert {"accuracy", "accuracy_4shot"} <= set(result["base"])
    assert list(result["stages"]) == list(STAGES)
    for name, stage in result["stages"].items():
        assert stage["adapter"] == f"{RECIPE}/{name}:1"
        assert (stage["trials"], stage["pruned"] + stage["failed"] < 2) == (2, True)
        assert {"lora.r", "learning_rate"} <= set(stage["best"])
    assert "accuracy" in result["stages"]["sft"]
    assert {"pair_accuracy", "longer_rule"} <= set(result["stages"]["reward"])
    dpo, grpo = result["stages"]["dpo"], result["stages"]["grpo"]
    assert {"pair_accuracy", "parent_pair_accuracy"} <= set(dpo) and "beta" in dpo["best"]
    assert {"mean_reward", "parent_mean_reward"} <= set(grpo) and "beta" in grpo["best"]
    assert {*STAGES, "total"} <= set(result["seconds"])
    assert sum(result["seconds"][name] for name in STAGES) < result["seconds"]["total"]


def test_the_demo_decides_by_what_its_users_said(result: dict[str, Any]) -> None:
    experiment = result["experiment"]
    assert experiment["rated_users"] == experiment["planned_users"] == 30
    assert {one["model"] for one in experiment["variants"]} == {"base", f"{RECIPE}/sft:1"}
    assert experiment["decision"]


def test_progress_is_told_on_stderr(run: Run, result: dict[str, Any]) -> None:
    for name in STAGES:
        assert f"{RECIPE}/{name} run 1: 2 trials of 4 steps" in run.stderr
        assert f"{RECIPE}/{name}:1 is now {RECIPE}/{name}@champion" in run.stderr
    assert "until Ctrl-C" in run.stderr
    assert "Traceback" not in run.stderr


def test_the_endpoint_answers_to_every_name(client: openai.OpenAI) -> None:
    names = {model.id for model in client.models.list()}
    assert names >= {"base", *(f"{RECIPE}/{name}@champion" for name in STAGES)}
    for model in ("base", *(f"{RECIPE}/{name}:1" for name in STAGES if name != "reward")):
        answer = ask(client, model)
        assert answer.choices[0].message.role == "assistant"
        assert 0 < answer.usage.completion_tokens <= 8


def test_a_streamed_answer_is_the_same(client: openai.OpenAI) -> None:
    model = f"{RECIPE}/grpo@champion"
    whole = ask(client, model).choices[0].message.content
    pieces = [one.choices[0].delta.content or "" for one in ask(client, model, stream=True)]
    assert "".join(pieces) == whole


def test_the_reward_model_scores_and_does_not_answer(client: openai.OpenAI) -> None:
    model = f"{RECIPE}/reward@champion"
    talks = [[*QUESTION, {"role": "assistant", "content": one}] for one in ("It is 19.", "Dunno")]
    body = {"model": model, "conversations": talks}
    first, second = client.post("/score", body=body, cast_to=dict[str, Any])["scores"]
    assert first != second
    with pytest.raises(openai.BadRequestError, match="score"):
        ask(client, model)


def test_an_unknown_model_is_answered_with_the_near_ones(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=f"{RECIPE}/sft"):
        ask(client, f"{RECIPE}/stf:1")


def test_a_promotion_is_seen_by_the_running_endpoint(client: openai.OpenAI) -> None:
    model = f"{RECIPE}/sft@canary"
    with pytest.raises(openai.NotFoundError):
        ask(client, model)
    command("adapter", "promote", f"{RECIPE}/sft:1", "--alias", "canary")
    answer = ask(client, model).choices[0].message.content
    assert answer == ask(client, f"{RECIPE}/sft:1").choices[0].message.content


def test_an_experiment_beside_the_running_endpoint(client: openai.OpenAI) -> None:
    arms = ("--control", "base", "--treatment", f"{RECIPE}/sft@champion", "--planned-users", "20")
    command("ab", "start", "live", *arms)
    for number in range(8):
        answer = ask(client, "live", user=f"user-{number}")
        verdict = {"request_id": answer.id, "value": number % 2}
        client.post("/feedback", body=verdict, cast_to=dict[str, Any])
    report = command("ab", "report", "live")
    assert report["rated_users"] == 8
    assert sum(one["rated_users"] for one in report["variants"]) == 8
    command("ab", "stop", "live")

    def refused() -> bool:
        try:
            ask(client, "live")
        except openai.NotFoundError:
            return True
        return False

    wait_until(refused, "the stopped experiment is refused")


def test_ctrl_c_ends_everything(run: Run, stopped: int, temporary: Path) -> None:
    assert stopped in (0, 130)
    assert run.started  # Ray's processes, and their workers
    assert alive(run.started, temporary) == []
    assert list(temporary.glob("alignery-*")) == []
    assert json.loads(run.stdout)  # nothing came after the object
    assert "Traceback" not in run.stderr


@pytest.mark.chaos
def test_a_second_run_reuses_what_is_there(
    result: dict[str, Any], stopped: int, home: Path, temporary: Path
) -> None:
    again = Run.start(home.parent / "second", *DEMO, "--users", "2")
    try:
        second = again.result()
        assert again.process.wait(STOP_SECONDS) == 0
    finally:
        again.end()
    assert again.stderr.count("searched before") == len(STAGES)
    assert "step 2/4" not in again.stderr
    for name in STAGES:
        for key in ("adapter", "best", "trials"):
            assert second["stages"][name][key] == result["stages"][name][key]
    assert len(command("adapter", "list")) == len(STAGES)
    assert len(command("sweep", "list")["sweeps"]) == len(STAGES)
    assert second["experiment"]["experiment"] != result["experiment"]["experiment"]
    assert alive(again.started, temporary) == []


def test_sweeps_can_be_looked_at_later(result: dict[str, Any], stopped: int) -> None:
    for name in STAGES:
        (status,) = command("sweep", "status", f"{RECIPE}/{name}")["sweeps"]
        assert (status["state"], len(status["trials"])) == ("finished", 2)
        best = command("sweep", "best", f"{RECIPE}/{name}")
        assert best["adapter"] == f"{RECIPE}/{name}:1"
        assert best["best"]["params"] == result["stages"][name]["best"]


def test_experiments_can_be_looked_at_later(result: dict[str, Any], stopped: int) -> None:
    experiment = result["experiment"]
    report = command("ab", "report", experiment["experiment"])
    assert report["state"] == "stopped"
    assert report["variants"] == experiment["variants"]


def test_adapters_move_by_hand(stopped: int) -> None:
    listed = {one["name"]: one for one in command("adapter", "list")}
    assert {*listed} == {f"{RECIPE}/{name}:1" for name in STAGES}
    assert "champion" in listed[f"{RECIPE}/sft:1"]["aliases"]

    for name in ("sft", "dpo"):  # two versions of a line of one's own
        folder = command("adapter", "show", f"{RECIPE}/{name}:1")["folder"]
        command("adapter", "register", "mine/best", folder)
    command("adapter", "promote", "mine/best:1", "--expected", "none", "--reason", "first")
    command("adapter", "promote", "mine/best:2", "--reason", "better")
    assert command("adapter", "show", "mine/best@champion")["name"] == "mine/best:2"
    command("adapter", "rollback", "mine/best", "--reason", "worse after all")
    assert command("adapter", "show", "mine/best")["id"] == listed[f"{RECIPE}/sft:1"]["id"]

    history = command("adapter", "history", "mine/best")
    assert [one["reason"] for one in history] == ["worse after all", "better", "first"]
    assert [one["to_number"] for one in history] == [1, 2, 1]
