"""A trial's checkpoints: folders `step_%06d` that are there whole or not at all.

Each holds `state/` (TRL's own: adapter, optimizer, scheduler, random states), `published/` (the
adapter as it would be served: the parent's LoRA and the new one as one) and `record.json`.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

PUBLISHED = "published"
STATE = "state"

_STEP, _WORK = "step_", ".work-"


def newest_checkpoint(folder: Path) -> tuple[int, Path | None]:
    """(step, folder) of the newest whole checkpoint; (0, None) where there is none."""
    found = {_step(path): path for path in folder.glob(f"{_STEP}*")}
    return (max(found), found[max(found)]) if found else (0, None)


def new_work_folder(folder: Path) -> Path:
    """A hidden folder for what is not finished; what killed runs left is removed."""
    for left in folder.glob(f"{_WORK}*"):
        shutil.rmtree(left, ignore_errors=True)
    work = folder / f"{_WORK}{uuid.uuid4().hex}"
    work.mkdir(parents=True)
    return work


def make_visible(fresh: Path, folder: Path, step: int) -> Path:
    """Turn the whole folder `fresh` into the checkpoint of `step`, then remove older ones."""
    target = folder / f"{_STEP}{step:06d}"
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
