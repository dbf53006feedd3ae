"""A sweep as a job of a cluster: the package that is sent, the command and the job's name."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from align.preflight import check_inputs
from align.recipe import Recipe
from align.recipe.show import to_yaml
from align.rewards.functions import PythonConfig
from cluster.database import Database
from cluster.errors import JobNotFound
from cluster.jobs import RayJob, Submission, find_job, stop_job
from cluster.secrets import check_clean, known_secrets, needed_variables, read_environment
from cluster.settings import Settings
from cluster.tree import Tree, working_tree, write_package
from sweeps.search_options import SearchOptions

#: Folder in the job's working directory for files of this job.
FOLDER = ".alignery-job"
RECIPE_FILE = f"{FOLDER}/recipe.yaml"

#: Runs in sh. Prints the names of missing variables, never values.
_GUARD = (
    "missing=; for name in {names}; do "
    '[ -n "$(printenv "$name")" ] || missing="$missing $name"; done; '
    'if [ -n "$missing" ]; then echo "error: not set on the cluster:$missing; add it to the '
    "environment that its machines have (on Kubernetes the Secret of its pods, see infra/kuberay)"
    '" >&2; exit 2; fi; '
)


def prepare(
    settings: Settings,
    recipe: Recipe,
    options: SearchOptions,
    package: Path,
    *,
    ship: bool = True,
    secrets: Sequence[str] = (),
    env_file: Path | None = None,
) -> tuple[Submission, Tree | None]:
    """Write the files to send to `package` (a zip), upload local data, and make the submission.

    Returns the submission and, with `ship`, the working tree that it contains. `secrets` are names
    of variables that the cluster must have. SettingsError if the files to send hold a secret;
    ClusterError if the tree is too large. Also raises the errors of `check_inputs`.
    """
    from sweeps.pool.shipping import ship_data
    from sweeps.run_store import choose

    needed = needed_variables(settings, secrets)
    environment = {} if env_file is None else read_environment(env_file)
    _check_here(recipe, choose(recipe, options.only, options.from_))
    tree = working_tree(Path.cwd(), without=data_files(recipe)) if ship else None
    sent_recipe = ship_data(settings, recipe, code=True)
    recipe_yaml = to_yaml(sent_recipe).encode()
    command = entrypoint(options, needed)
    contents = [
        ("the job's command", command.encode()),
        ("the job's environment", repr(environment).encode()),
        ("the recipe", recipe_yaml),
    ]
    if tree is not None:
        contents += [(str(path), (tree.root / path).read_bytes()) for path in tree.files]
    check_clean(known_secrets(settings, secrets), contents)
    write_package(package, tree, {RECIPE_FILE: recipe_yaml})
    name = job_name(sent_recipe, command)
    return Submission(name, recipe.name, command, package, environment), tree


def _check_here(recipe: Recipe, stages: Sequence[str]) -> None:
    """Check the data on this machine. What is on a hub is checked on the cluster's machines."""
    if recipe.base.startswith("/") and not Path(recipe.base).is_dir():
        return  # it is in the cluster's image; without it data cannot be checked here
    check_inputs(recipe, stages, hub=False)


def entrypoint(options: SearchOptions, needed: Sequence[str]) -> str:
    """The job's command: check that the `needed` variables are set, then run the sweep."""
    command = f"exec alignery sweep run {shlex.join([RECIPE_FILE, *options.arguments()])}"
    return (_GUARD.format(names=" ".join(needed)) if needed else "") + command


def job_name(recipe: Recipe, command: str) -> str:
    """A name by content: the same recipe with the same options is the same job.

    So a job is not run twice at once. Code, of the project or of reward functions, does not enter
    the name: a search continues after the code was fixed.
    """
    content_recipe = recipe.model_copy(deep=True)
    for stage in content_recipe.stages.values():
        stage.rewards = {
            name: reward.model_copy(update={"folder": None})
            if isinstance(reward, PythonConfig)
            else reward
            for name, reward in stage.rewards.items()
        }
    content = f"{to_yaml(content_recipe)}\n{command}"
    return f"{recipe.name}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"


def data_files(recipe: Recipe) -> list[Path]:
    """Local data files of the recipe; they go to storage and not into the package."""
    blocks = [recipe.data, *(stage.data for stage in recipe.stages.values())]
    return [Path(block.path) for block in blocks if block is not None and block.path is not None]


def stop_unbegun(settings: Settings, database: Database, name: str) -> RayJob | None:
    """Stop the live job of this name if it has not begun to search; None if there is no such job.

    A job that searches gets requests through the database instead.
    """
    from sweeps.run_store import launches

    if settings.jobs_address is None:
        return None
    with suppress(JobNotFound):
        job = find_job(settings.jobs_address, name)
        begun = any(launch.job_id == job.id for launch in launches(database))
        if job.live and not begun:
            return stop_job(settings.jobs_address, job.id)
    return None
