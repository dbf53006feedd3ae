"""One trial of a stage on one worker: train to a milestone, measure, publish."""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from align.adapters import Manifest, write_manifest
from align.base import load_base
from align.data.leaks import HELD_OUT, check_chain
from align.data.row_tokens import row_tokens
from align.data.splits import load_split
from align.evaluation.eval_plan import EvalPlan
from align.evaluation.eval_result import EvalResult, read_measured, write_measured
from align.evaluation.metrics import key_of
from align.evaluation.rung_values import compared_values
from align.evaluation.systems import engine_of, shared_engine
from align.recipe import Recipe
from align.rewards import Rewards, reward_functions
from align.space.spaces import Value
from align.training.callbacks import OnCheckpoint
from align.training.publish import Origin, manifest_of, publish
from align.training.train import PUBLISHED, newest_checkpoint, train
from align.training.train_record import read_record
from align.training.usage import SKIPPED

#: Metrics of training that say whether there was something to learn from: TRL's share of groups
#: whose rewards are all equal, and the steps that fp16 skipped.
_LOGGED = ("train/frac_reward_zero_std", SKIPPED)


class Trial:
    """A stage with values for its searched fields.

    Its whole state is in `folder`, so another worker can continue from there. `parent` and
    `reward_model` are published adapter folders. `on_checkpoint` is called with the step of each
    checkpoint between two milestones (`save_steps`) as soon as it is in `folder`.
    """

    def __init__(
        self,
        recipe: Recipe,
        stage: str,
        params: Mapping[str, Value],
        *,
        parent: Path | None,
        reward_model: Path | None,
        folder: Path,
        on_checkpoint: OnCheckpoint | None = None,
    ):
        self._on_checkpoint = on_checkpoint
        self._recipe, self._stage, self._folder = recipe, stage, folder
        self._config = recipe.stages[stage].resolve(params)
        self._parent, self._reward_model = parent, reward_model
        self._origin = Origin(recipe, stage, self._config, dict(params), parent, reward_model)
        self._steps = recipe.steps(stage, params)

    @property
    def milestones(self) -> tuple[int, ...]:
        """Steps at which the trial is measured: the rungs, then the last step."""
        return (*self._config.sweep.rungs, self._steps)

    @property
    def step(self) -> int:
        """The newest checkpoint's step, 0 if there is none."""
        return newest_checkpoint(self._folder)[0]

    def advance(self, to: int) -> dict[str, float]:
        """Train to step `to` and measure the published adapter on validation items.

        At a rung only what the rung metric needs is measured; at the last step everything that the
        data allow, and the parent and the base on the same items. The result holds `objective` if
        it was measured, `rung`, the mean of the rung metric, unless trials are compared by the
        objective,
        `violation` if something was measured that a constraint needs (above 0: a constraint is
        broken, by that share of its bound), `step`, `seconds_load` up to the first optimizer
        step, `seconds_train`, `seconds_evaluate` and what else was measured; at the end also the
        parent's and the base's figure for the objective, as `parent_…` and `base_…`. DataError,
        ModelError and AdapterError mean that no trial of this stage can run; TrainingError means
        that this trial failed.
        """
        started = time.perf_counter()
        _settle(self._recipe.base, *self._recipe.fp32_modules)
        if self.step == 0:
            check_chain(self._recipe, self._stage)
            self._check_held_out()
        plan = EvalPlan(self._recipe, self._stage, self._config, self._parent, self._reward_model)
        earlier = read_measured(newest_checkpoint(self._folder)[1])
        rewards = plan.evaluator.rewards(self._config.rewards)
        checkpoint, loaded = self._train(to, rewards)
        trained = time.perf_counter()
        last = to >= self._steps
        measured = self._measure(plan, checkpoint, last)
        outcome = plan.outcome(measured.evaluation, last)
        if earlier is not None:
            measured.failed, measured.failures = earlier.failed, earlier.failures
        measured.add_failures(rewards.failed, rewards.failures)
        measured.add_failures(plan.evaluator.failed, plan.evaluator.failures)
        write_measured(checkpoint, measured)
        return {
            **self._metrics(measured, checkpoint),
            **_beside(measured, key_of(self._config.objective, self._config.method)),
            **outcome,
            "step": float(to),
            "seconds_load": loaded - started,
            "seconds_train": trained - loaded,
            "seconds_evaluate": time.perf_counter() - trained,
        }

    def rung_values(self) -> dict[str, float]:
        """The rung metric of each item at the newest milestone, by the item's key; maybe empty."""
        measured = read_measured(newest_checkpoint(self._folder)[1])
        return {} if measured is None else compared_values(measured.evaluation, self._config)

    def _check_held_out(self) -> None:
        """DataError for held-out rows that the base's chat template cannot render."""
        base = load_base(self._recipe.base, *self._recipe.fp32_modules)
        for split in HELD_OUT:
            row_tokens(
                base.tokenizer, load_split(self._recipe, self._stage, split), self._config.method
            )

    def _train(self, to: int, rewards: Rewards) -> tuple[Path, float]:
        """The checkpoint at step `to`, and when the first optimizer step began, or would have."""
        begin_times: list[float] = []
        engine = engine_of(self._recipe)
        engine.start_anew()
        checkpoint = train(
            load_base(self._recipe.base, *self._recipe.fp32_modules),
            self._config,
            load_split(self._recipe, self._stage, "train"),
            self._folder,
            to=to,
            steps=self._steps,
            seed=self._recipe.seed,
            parent=self._parent,
            rewards=reward_functions(rewards),
            engine=engine,
            on_begin=lambda: begin_times.append(time.perf_counter()),
            on_checkpoint=self._on_checkpoint,
        )
        return checkpoint, begin_times[0] if begin_times else time.perf_counter()

    def _measure(self, plan: EvalPlan, checkpoint: Path, last: bool) -> EvalResult:
        published = checkpoint / PUBLISHED
        # A reward head is read by the pad token that its manifest names.
        write_manifest(published, manifest_of(self._origin, published, read_record(checkpoint), {}))
        try:
            if not last:
                return EvalResult(plan.rung(published))
            measured = EvalResult(plan.end(published))
        finally:
            plan.evaluator.forget(published)
        parent = None if self._parent is None else plan.beside(self._parent)
        measured.put_beside(parent, plan.beside(None))
        return measured

    def _metrics(self, measured: EvalResult, checkpoint: Path) -> dict[str, float]:
        metrics, training = measured.evaluation.metrics(), read_record(checkpoint).metrics
        logged = {name: training[name] for name in _LOGGED if name in training}
        return metrics | logged

    def publish(self, target: Path, metrics: Mapping[str, float] | None = None) -> Manifest:
        """Put the newest checkpoint's adapter, its manifest, model card and rows into `target`.

        `metrics` are what `advance` returned; without them those that it measured.
        """
        _, checkpoint = newest_checkpoint(self._folder)
        if checkpoint is None:
            raise FileNotFoundError(f"{self._folder}: no checkpoint to publish")
        if metrics is None:
            measured = read_measured(checkpoint)
            metrics = self._metrics(measured, checkpoint) if measured else {}
        return publish(self._origin, checkpoint, target, dict(metrics))


def _beside(measured: EvalResult, measure: str) -> dict[str, float]:
    sides = (("parent", measured.parent_metrics), ("base", measured.base_metrics))
    return {f"{name}_{measure}": metrics[measure] for name, metrics in sides if measure in metrics}


def forget_shared() -> None:
    """Let the next trial load what trials share anew."""
    _settle.cache_clear()


@lru_cache(maxsize=1)
def _settle(base: str, *fp32_modules: str) -> None:
    """Load what all trials on this base share, and exclude it from garbage collection.

    accelerate collects garbage at the start of every run, and imports and models are a few hundred
    thousand objects that stay in memory.
    """
    gc.unfreeze()  # objects of an earlier base can be collected now
    shared_engine(base, *fp32_modules)
    gc.collect()
    gc.freeze()
