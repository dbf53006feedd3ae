"""A sweep as a job of a cluster: what travels, and what it is called."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from align.preflight import check_inputs
from align.recipe import Recipe
from align.recipe.rewards import PythonConfig
from align.recipe.show import to_yaml
from cluster.database import Database
from cluster.errors import JobNotFound
from cluster.jobs import RayJob, Submission, find_job, stop_job
from cluster.secrets import check_clean, known_secrets, needed_variables, read_environment
from cluster.settings import Settings
from cluster.tree import Tree, working_tree, write_package

#: Folder in the job's working directory for what belongs to this one job.
FOLDER = ".alignery-job"
RECIPE_FILE = f"{FOLDER}/recipe.yaml"

#: Runs in sh. Names what is missing, never what is there.
_GUARD = (
    "missing=; for name in {names}; do "
    '[ -n "$(printenv "$name")" ] || missing="$missing $name"; done; '
    'if [ -n "$missing" ]; then echo "error: not set on the cluster:$missing; add it to the '
    "environment that its machines have (on Kubernetes the Secret of its pods, see infra/kuberay)"
    '" >&2; exit 2; fi; '
)


@dataclass(frozen=True)
class SubmittedOptions:
    """How `alignery sweep run` is called on the cluster; its flags by their own names."""

    only: Sequence[str] = ()
    from_: str | None = None
    fresh: bool = False
    promote: bool = False
    trials: int | None = None
    cpus_per_trial: int | None = None
    max_concurrent: int | None = None
    accelerator: str | None = None
    label: Sequence[str] = ()
    grow: bool = False

    def arguments(self) -> list[str]:
        """Words of the command line, the given ones only."""
        words: list[str] = []
        for name, value in vars(self).items():
            flag = f"--{name.rstrip('_').replace('_', '-')}"
            if value is True:
                words.append(flag)
            elif isinstance(value, int | str) and value is not False:
                words += [flag, str(value)]
            elif isinstance(value, Sequence):
                words += [word for one in value for word in (flag, one)]
        return words


def prepare(
    settings: Settings,
    recipe: Recipe,
    options: SubmittedOptions,
    package: Path,
    *,
    ship: bool = True,
    secrets: Sequence[str] = (),
    env_file: Path | None = None,
) -> tuple[Submission, Tree | None]:
    """Write what travels to `package` (a zip), upload local data, and say what is to run.

    Gives the submission and, with `ship`, the working tree that is in it. `secrets` are names of
    variables that the cluster must have. SettingsError if something that travels holds a secret;
    ClusterError if the tree is too large; what is wrong with the recipe and its data.
    """
    from sweeps.pool.shipping import ship_data
    from sweeps.run_store import choose

    needed = needed_variables(settings, secrets)
    environment = {} if env_file is None else read_environment(env_file)
    _check_here(recipe, choose(recipe, options.only, options.from_))
    tree = working_tree(Path.cwd(), without=data_files(recipe)) if ship else None
    travelling = ship_data(settings, recipe, code=True)
    there = to_yaml(travelling).encode()
    command = entrypoint(options, needed)
    contents = [
        ("the job's command", command.encode()),
        ("the job's environment", repr(environment).encode()),
        ("the recipe", there),
    ]
    if tree is not None:
        contents += [(str(one), (tree.root / one).read_bytes()) for one in tree.files]
    check_clean(known_secrets(settings, secrets), contents)
    write_package(package, tree, {RECIPE_FILE: there})
    name = job_name(travelling, command)
    return Submission(name, recipe.name, command, package, environment), tree


def _check_here(recipe: Recipe, stages: Sequence[str]) -> None:
    """Find out here what is wrong with the data. What lies on a hub, the cluster's machines ask."""
    if recipe.base.startswith("/") and not Path(recipe.base).is_dir():
        return  # in the image, and nothing can be read with it here
    check_inputs(recipe, stages, hub=False)


def entrypoint(options: SubmittedOptions, needed: Sequence[str]) -> str:
    """The job's command: `needed` variables are looked for by name, then the sweep runs."""
    command = f"exec alignery sweep run {shlex.join([RECIPE_FILE, *options.arguments()])}"
    return (_GUARD.format(names=" ".join(needed)) if needed else "") + command


def job_name(recipe: Recipe, command: str) -> str:
    """The same recipe with the same options is the same job, so that it is not run twice at once.

    What code is like does not enter, the project's or of rewards: a search goes on though it was
    mended.
    """
    plain = recipe.model_copy(deep=True)
    for stage in plain.stages.values():
        stage.rewards = {
            name: one.model_copy(update={"folder": None}) if isinstance(one, PythonConfig) else one
            for name, one in stage.rewards.items()
        }
    content = f"{to_yaml(plain)}\n{command}"
    return f"{recipe.name}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"


def data_files(recipe: Recipe) -> list[Path]:
    """Local files that the recipe reads; they go to storage and not into the package."""
    blocks = [recipe.data, *(stage.data for stage in recipe.stages.values())]
    return [Path(one.path) for one in blocks if one is not None and one.path is not None]


def stop_unbegun(settings: Settings, database: Database, name: str) -> RayJob | None:
    """Stop the live job of this name that has not begun to search; None if there is none.

    One that searches reads what it is asked from the database.
    """
    from sweeps.run_store import launches

    if settings.jobs_address is None:
        return None
    with suppress(JobNotFound):
        job = find_job(settings.jobs_address, name)
        begun = any(one.job_id == job.id for one in launches(database))
        if job.live and not begun:
            return stop_job(settings.jobs_address, job.id)
    return None
