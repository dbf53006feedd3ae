"""The final evaluation: many systems on held-out items, side by side as Ray tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from align.errors import AligneryError, GpuLost
from align.gpu_errors import lost_gpu
from align.recipe import Recipe
from cluster.registry import AdapterVersion
from cluster.settings import Settings
from cluster.storage import Storage
from sweeps.errors import SweepError
from sweeps.pool.stage_job import adapter_folder, portable
from sweeps.pool.worker_process import import_for, use_card

if TYPE_CHECKING:
    from align.evaluation.metrics import Evaluation

#: The function that a worker evaluates a system with: `module:attribute`.
EVALUATE = "align.evaluation.evaluate:evaluate_adapter"


@dataclass(frozen=True)
class System:
    """A system to evaluate: the base (no adapter) with `shots` worked examples, or a stage's best.

    `reward_model` is needed where the recipe's rewards ask for it. `earlier` is an evaluation of
    the same system from before there was a reward model: its answers are then only judged again.
    """

    name: str
    adapter: AdapterVersion | None = None
    stage: str | None = None
    reward_model: AdapterVersion | None = None
    shots: int = 0
    earlier: Evaluation | None = None


def evaluate_many(
    settings: Settings,
    recipe: Recipe,
    systems: Sequence[System],
    *,
    cpus_per_task: int = 1,
    on_done: Callable[[Evaluation], None] | None = None,
    evaluate: str = EVALUATE,
) -> list[Evaluation]:
    """Measure all systems on the recipe's test split, in the order given.

    Runs on the Ray that this process is connected to: a task for each system, as many at once as
    fit. `on_done` is called with each evaluation as soon as it ends. Raises the AligneryError that
    a task raised.
    """
    import ray
    from ray.exceptions import RayTaskError

    fit, gpus = _room(ray.cluster_resources(), cpus_per_task)
    # Ray runs each task with a GPU in a process of its own, so a repeated task gets a new one.
    options: dict[str, Any] = {"retry_exceptions": [GpuLost]}  # Ray's annotation allows no list
    task = ray.remote(num_cpus=cpus_per_task, num_gpus=gpus, **options)(_measure)
    plain_settings, recipe_json = portable(settings), recipe.model_dump_json()
    results: dict[int, Evaluation] = {}
    running: dict[Any, int] = {}
    waiting = list(enumerate(systems))
    while waiting or running:
        # No task is queued on Ray: when a task fails, only the tasks that have begun still run.
        while waiting and len(running) < fit:
            index, system = waiting.pop(0)
            arguments = plain_settings, recipe_json, system, cpus_per_task, gpus, evaluate
            running[task.remote(*arguments)] = index
        (ready, *_), _ = ray.wait(list(running))
        try:
            evaluation = ray.get(ready)
        except RayTaskError as error:
            if isinstance(error.cause, AligneryError):
                raise error.cause from None
            raise
        results[running.pop(ready)] = evaluation
        if on_done is not None:
            on_done(evaluation)
    return [results[index] for index in range(len(systems))]


def _room(total: Mapping[str, float], cpus: int) -> tuple[int, int]:
    """(tasks that fit at once, GPUs of each): a GPU for each task where there are any."""
    fit, gpus = int(total.get("CPU", 0)) // cpus, int(total.get("GPU", 0))
    if fit < 1:
        raise SweepError(f"a task needs {cpus} CPUs and Ray has {int(total.get('CPU', 0))}")
    return (min(fit, gpus), 1) if gpus else (fit, 0)


def _measure(
    settings: dict[str, str | None],
    recipe: str,
    system: System,
    cpus: int,
    gpus: int,
    evaluate: str,
) -> Evaluation:
    """Evaluate a system in a worker. GpuLost if a device error ended the use of its GPU."""
    opened, parsed = Settings(**settings), Recipe.model_validate_json(recipe)
    function = import_for(opened, cpus, gpus, evaluate)
    use_card(gpus, parsed.base)
    try:
        return _evaluation(function, parsed, system, Storage(opened))
    except Exception as error:
        if (lost := lost_gpu(error)) is not None:
            raise lost from error
        raise


def _evaluation(
    function: Callable[..., Evaluation], recipe: Recipe, system: System, storage: Storage
) -> Evaluation:
    return function(
        recipe,
        adapter_folder(storage, system.adapter.adapter_id if system.adapter else None),
        system=system.name,
        stage=system.stage,
        split="test",
        reward_model=adapter_folder(
            storage, system.reward_model.adapter_id if system.reward_model else None
        ),
        shots=system.shots,
        earlier=system.earlier,
    )
