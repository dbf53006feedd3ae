"""A trial's checkpoints: folders `step_%06d` that exist whole or not at all.

Each holds `state/` (TRL's files: adapter, optimizer, scheduler, random states), `published/` (the
adapter as it is served: the parent's LoRA and the new LoRA in a single adapter) and `record.json`.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from align.atomic_write import add_rights

PUBLISHED = "published"
STATE = "state"

_STEP, _WORK = "step_", ".work-"


def newest_checkpoint(folder: Path) -> tuple[int, Path | None]:
    """(step, folder) of the newest whole checkpoint; (0, None) where there is none."""
    paths = {_step(path): path for path in folder.glob(f"{_STEP}*")}
    return (max(paths), paths[max(paths)]) if paths else (0, None)


def new_work_folder(folder: Path) -> Path:
    """A new hidden folder for unfinished files; folders of killed runs are removed."""
    for leftover in folder.glob(f"{_WORK}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    work = folder / f"{_WORK}{uuid.uuid4().hex}"
    work.mkdir(parents=True)
    return work


def make_visible(fresh: Path, folder: Path, step: int) -> Path:
    """Rename the finished folder `fresh` to the checkpoint of `step`; remove older ones."""
    target = folder / f"{_STEP}{step:06d}"
    add_rights(fresh)
    try:
        fresh.rename(target)
    except OSError:
        # A worker that was thought dead can have written the same step a moment ago.
        if not target.is_dir():
            raise
    for path in folder.glob(f"{_STEP}*"):
        if _step(path) < step:
            shutil.rmtree(path, ignore_errors=True)
    return target


def _step(path: Path) -> int:
    return int(path.name.removeprefix(_STEP))
