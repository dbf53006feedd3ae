"""The demo of the whole loop: search, promote, serve, ask, compare, and show the results."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from align.errors import RecipeError
from align.json_output import JsonObjectOption
from sweeps.results.part_times import PartTimes

if TYPE_CHECKING:
    from openai import OpenAI

    from align.data.arithmetic import Problem
    from align.evaluation.metrics import Evaluation
    from align.recipe import Recipe
    from cluster.settings import Settings
    from serve.experiments import ExperimentReport
    from sweeps.sweep import SweepResult

#: Seconds that the parts outside the sweeps may take on two cores; a sweep's are in its recipe.
BUDGETS = {"base": 130.0, "final": 220.0, "serve": 40.0, "experiment": 100.0}
TOTAL = 1200.0
ASKERS = 64  # simulated users at a time: as many rows as the engine batches
BASE, SHOTS = "base", 4
WORKED = f"base {SHOTS}-shot"


def demo(
    recipe: Annotated[str, typer.Option(help="A shipped recipe or a YAML file.")] = "arithmetic",
    fresh: Annotated[
        bool,
        typer.Option("--fresh/--resume", help="Search anew, or go on with earlier runs' work."),
    ] = False,
    users: Annotated[int, typer.Option(min=2, help="Simulated users of the A/B test.")] = 200,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The endpoint's. Default: a free one.")
    ] = None,
    keep_serving: Annotated[
        bool, typer.Option("--keep-serving", help="Leave the endpoint up until Ctrl-C.")
    ] = False,
    as_json: JsonObjectOption = False,
) -> None:
    """Run the whole loop on a small real model: search, promote, serve, ask, compare."""
    if port is not None:
        from serve.server import check_port

        check_port("127.0.0.1", port)
    typer.echo("alignery demo: reading the recipe and its data", err=True)  # imports take seconds
    from align.recipe import load_recipe
    from cluster.ray import ray_session
    from cluster.settings import Settings
    from serve.server import running_server

    story = Story(Settings(), load_recipe(recipe))
    story.introduce(fresh)
    with ray_session(story.settings):
        with story.times.part("base", pieces=2, of="systems"):
            story.measure_base()
        story.search(fresh)
        with story.times.part("final", pieces=2 + len(story.sweeps), of="systems"):
            story.measure_champions()
        with ExitStack() as serving:
            with story.times.part("serve", pieces=1, of="endpoints"):
                server = running_server(
                    story.settings, story.recipe.base, port=port, keys_asked=False
                )
                story.url = serving.enter_context(server)
                story.call()
            with story.times.part("experiment", pieces=users, of="users"):
                story.compare(users)
            story.conclude(keep_serving)
            if as_json:
                print(json.dumps(story.result()), flush=True)
            while keep_serving:
                time.sleep(1)


@dataclass
class Story:
    """The state of the demo and its results so far. Progress is printed on stderr."""

    settings: Settings
    recipe: Recipe
    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    sweeps: dict[str, SweepResult] = field(default_factory=dict)
    measured: dict[str, Evaluation] = field(default_factory=dict)
    report: ExperimentReport | None = None
    url: str = ""
    times: PartTimes = field(init=False)

    def __post_init__(self) -> None:
        stages = {name: stage.budget_seconds or 0.0 for name, stage in self.recipe.stages.items()}
        self.times = PartTimes(self.console, {**BUDGETS, **stages, "total": TOTAL})

    def say(self, text: str) -> None:
        """Print a line of rich's markup."""
        self.console.print(text, soft_wrap=True)

    def stage(self, method: str) -> str:
        """The first stage of a method. RecipeError if there is none."""
        names = [name for name, stage in self.recipe.stages.items() if stage.method == method]
        if not names:
            raise RecipeError(f"{self.recipe.name}: the demo needs a stage of method {method}")
        return names[0]

    @property
    def items(self) -> int:
        """The number of items in the final evaluation."""
        return self.recipe.data_of(self.stage("grpo")).test

    def introduce(self, fresh: bool) -> None:
        """Check the inputs and stages, and print what will run and where its files will be."""
        from align.preflight import check_inputs

        check_inputs(self.recipe)
        for method in ("sft", "reward", "dpo", "grpo"):
            self.stage(method)
        how = "searching anew" if fresh else "going on with what is there"
        self.say(
            f"[bold]{self.recipe.name}[/] on {self.recipe.base}, four stages, all local\n"
            f"home {self.settings.home} ({how}); budget {TOTAL / 60:.0f} min on two cores"
        )

    def measure_base(self) -> None:
        """Evaluate the base on the final items, without and with worked examples in the prompt."""
        from sweeps.results.final_evaluation import System, evaluate_many

        self.say(f"\n[bold]1 The base[/] on {self.items} held-out items")
        systems = [System(BASE), System(WORKED, shots=SHOTS)]
        for evaluation in evaluate_many(
            self.settings, self.recipe, systems, on_done=self.times.count
        ):
            self.measured[evaluation.system] = evaluation
            self.say(f"   {evaluation.system}: {evaluation.metrics()['accuracy']:.1%} right")

    def search(self, fresh: bool) -> None:
        """Run a sweep for each stage; its best trial becomes the line's champion."""
        from cluster.database import open_database
        from sweeps.progress import Progress
        from sweeps.run_store import RunOptions
        from sweeps.runner import drive_launch, recorded_inputs

        self.say("\n[bold]2 The search[/]: the best trial of each stage becomes its champion")
        settings, options = self.settings, RunOptions(fresh=fresh, promote=True)
        inputs = recorded_inputs(settings, self.recipe, self.recipe.order(), options)
        with Progress(self.console) as view:
            _, self.sweeps = drive_launch(settings, open_database(settings), inputs, on_event=view)
        for name, sweep in self.sweeps.items():
            self.times.seconds[name] = sweep.seconds
            self.say(f"   {sweep.version.name} is now {sweep.line}@champion")

    def measure_champions(self) -> None:
        """Evaluate champions, and score the base's answers by the reward model, on final items."""
        from sweeps.results.final_evaluation import System, evaluate_many

        self.say(f"\n[bold]3 The champions[/] on the same {self.items} items, never searched on")
        judge = self.sweeps[self.stage("reward")].version
        systems = [
            System(name, earlier=prior, reward_model=judge) for name, prior in self.measured.items()
        ]
        for name, sweep in self.sweeps.items():
            systems.append(System(name, adapter=sweep.version, stage=name, reward_model=judge))
        for evaluation in evaluate_many(
            self.settings, self.recipe, systems, on_done=self.times.count
        ):
            self.measured[evaluation.system] = evaluation

    def call(self) -> None:
        """Call by OpenAI's client: the base, each adapter, a stream, and scores of two answers."""
        self.say(f"\n[bold]4 The endpoint[/] {self.url}/v1, called with the openai client")
        client, problem = self.client(), next(self.problems())
        self.say(f"   user: {problem.question} [dim](right: {problem.answer})[/]")
        chats = [name for name, stage in self.recipe.stages.items() if stage.method != "reward"]
        for model in (BASE, *(self.sweeps[name].version.name for name in chats)):
            answer = self.ask(client, model, problem).choices[0].message.content
            self.say(f"   [cyan]{model}[/]: {escape(' '.join(answer.split()))}")
        model = f"{self.recipe.line(chats[-1])}@champion"
        stream = self.ask(client, model, problem, stream=True)
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
        text = escape(" ".join("".join(pieces).split()))
        self.say(f"   [cyan]{model}[/] in {sum(map(bool, pieces))} pieces: {text}")
        self.score(client, problem)

    def score(self, client: OpenAI, problem: Problem) -> None:
        """Print the reward model's scores of a right and a wrong answer."""
        from align.data.arithmetic import asked, right, wrong

        judge = self.sweeps[self.stage("reward")].version.name
        answers = [right(problem, "concise"), wrong(problem, random.Random(0), "concise")]
        turns = [[*asked(problem), {"role": "assistant", "content": answer}] for answer in answers]
        body = {"model": judge, "conversations": turns}
        scores = client.post("/score", body=body, cast_to=dict[str, Any])["scores"]
        for answer, score in zip(answers, scores, strict=True):
            self.say(f"   [cyan]{judge}[/] gives {score:+.2f} to: {escape(answer)}")

    def compare(self, users: int) -> None:
        """Run an A/B test of the SFT champion against the base, with users who check the answer."""
        from serve.display import print_report
        from serve.experiments import VariantSpec, open_experiments

        store = open_experiments(self.settings)
        treatment = self.sweeps[self.stage("sft")].version.name
        name = store.free_name(f"{self.recipe.name}-sft")
        arms = [VariantSpec(name=BASE, model=BASE), VariantSpec(name="sft", model=treatment)]
        store.start(name, arms, control=BASE, planned_users=users)
        self.say(f"\n[bold]5 The experiment[/] {name}: {users} users, {BASE} against {treatment}")
        client = self.client()
        asks, pool = enumerate(islice(self.problems(), users)), ThreadPoolExecutor(ASKERS)
        try:
            list(pool.map(lambda ask: self.one_user(client, name, f"user-{ask[0]}", ask[1]), asks))
        finally:  # Ctrl-C does not wait for answers
            pool.shutdown(wait=False, cancel_futures=True)
        store.stop(name, store.report(name).decision)
        self.report = store.report(name)
        print_report(self.report, self.console)

    def one_user(self, client: OpenAI, experiment: str, user: str, problem: Problem) -> None:
        """Ask as a simulated user, check the answer, and send feedback."""
        from align.rewards import correctness

        answer = self.ask(client, experiment, problem, user=user)
        value = correctness(answer.choices[0].message.content or "", str(problem.answer))
        body = {"request_id": answer.id, "value": value}
        client.post("/feedback", body=body, cast_to=dict[str, Any])
        self.times.count()

    def conclude(self, keep_serving: bool) -> None:
        """Print the final table, its verdicts, where the files are, and the next commands."""
        from sweeps.results.results_table import table, verdicts

        shown = table(self.measured, self.sweeps, self.items)
        self.console.print("\n[bold]6 What came of it[/]", shown)
        sentences = verdicts(self.recipe, self.measured, WORKED, self.sweeps)
        self.say("\n".join(f"   {sentence}" for sentence in sentences))
        self.console.print(self.times.table())
        champion = f"{self.recipe.line(self.stage('grpo'))}@champion"
        self.say(
            f"files: {self.settings.storage} (adapters), {self.settings.database_name}\n"
            f"next:  alignery adapter list\n"
            f"       alignery sweep status {self.recipe.line(self.stage('sft'))}\n"
            f"       alignery ab report {self.report.experiment if self.report else ''}\n"
            f"       alignery serve run   [dim]# then ask {champion} on port 8000[/]"
        )
        if keep_serving:
            self.say(f"serving on [bold]{self.url}/v1[/] until Ctrl-C")

    def result(self) -> dict[str, Any]:
        """All results as plain JSON data."""
        from sweeps.results.results_table import summary

        base, worked = self.measured[BASE].metrics(), self.measured[WORKED].metrics()
        return {
            "base": {**base, "accuracy_4shot": worked["accuracy"], "items": self.items},
            "stages": summary(self.recipe, self.sweeps, self.measured),
            "experiment": self.report.model_dump(mode="json") if self.report else {},
            "seconds": {**self.times.seconds, "total": self.times.total},
            "endpoint": f"{self.url}/v1",
            "home": str(self.settings.home),
        }

    def ask(self, client: OpenAI, model: str, problem: Problem, **more: Any) -> Any:
        """A greedy answer, with the token limit of the evaluations."""
        from align.data.arithmetic import asked

        body: dict[str, Any] = {"messages": asked(problem), "temperature": 0, **more}
        tokens = self.recipe.evaluation.max_new_tokens
        return client.chat.completions.create(model=model, max_tokens=tokens, **body)

    def problems(self) -> Iterator[Problem]:
        """The users' questions: problems that neither training nor evaluation has used."""
        from align.data.arithmetic import problems

        return problems(self.recipe.seed, "live")

    def client(self) -> OpenAI:
        """OpenAI's client of the demo's endpoint."""
        from openai import DefaultHttpxClient, OpenAI

        direct, url = DefaultHttpxClient(trust_env=False), f"{self.url}/v1"  # past proxies
        return OpenAI(base_url=url, api_key="none", max_retries=0, timeout=120, http_client=direct)
