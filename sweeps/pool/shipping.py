"""Files of a recipe that other machines cannot see: into storage by content, and out again.

A file goes to `datasets/<sha256><suffix>` and the recipe says `alignery://datasets/…`; a reward
function's folder goes to `code/<sha256>`. What was stored once is not stored again.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from align.data.user_rows import KINDS
from align.recipe import DataConfig, Recipe
from align.recipe.rewards import PythonConfig, RewardConfig
from cluster.settings import Settings
from cluster.storage import Storage

#: What a path or a folder in storage begins with, in a recipe.
STORED = "alignery://"
#: The same after a recipe was read from a file, where relative paths are taken from its folder.
_STORED = re.compile(r"alignery:/+((?:datasets|code)/[^/]+)$")


def ship_data(settings: Settings, recipe: Recipe, *, code: bool = False) -> Recipe:
    """The recipe with its local data files in storage and, with `code`, its reward functions too.

    A file that is not here may be on the machines that read it, and stays as it is. StorageError.
    """
    storage, changed = Storage(settings), recipe.model_copy(deep=True)
    for data in _data(changed):
        if data.path is not None and (_key(data.path) or Path(data.path).is_file()):
            data.path = STORED + (_key(data.path) or _store_file(storage, Path(data.path)))
    for stage in changed.stages.values() if code else ():
        stage.rewards = {name: _shipped(storage, one) for name, one in stage.rewards.items()}
    return changed


def localise(recipe: Recipe, storage: Storage) -> Recipe:
    """The recipe with paths that can be read here, what is in storage fetched; StorageError."""
    changed = recipe.model_copy(deep=True)
    for data in _data(changed):
        if (key := _key(data.path)) is not None:
            folder = storage.get_folder(key)
            data.path = str(next(one for one in sorted(folder.iterdir()) if one.is_file()))
    for stage in changed.stages.values():
        stage.rewards = {name: _fetched(storage, one) for name, one in stage.rewards.items()}
    return changed


def _data(recipe: Recipe) -> Iterator[DataConfig]:
    blocks = (recipe.data, *(stage.data for stage in recipe.stages.values()))
    return (one for one in blocks if one is not None)


def _key(path: str | None) -> str | None:
    """The storage key that a path stands for, or None."""
    found = None if path is None else _STORED.search(path)
    return None if found is None else found.group(1)


def _store_file(storage: Storage, path: Path) -> str:
    """The key of a file's content; its name is kept, for what is said about it."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    suffix = path.suffix.lower()
    key = f"datasets/{digest}{suffix if suffix in KINDS else ''}"
    if not storage.exists(key):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copyfile(path, Path(folder) / path.name)
            storage.put_folder(Path(folder), key)
    return key


def _shipped(storage: Storage, reward: RewardConfig) -> RewardConfig:
    if not isinstance(reward, PythonConfig) or reward.file is None:
        return reward  # built in, stored already, or a module that Python finds
    folder = Path(str(reward.folder))
    files = sorted(_python(folder))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    key = f"code/{digest.hexdigest()}"
    if not storage.exists(key):
        with tempfile.TemporaryDirectory() as fresh:
            for path in files:
                target = Path(fresh) / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            storage.put_folder(Path(fresh), key)
    return reward.model_copy(update={"folder": STORED + key})


def _fetched(storage: Storage, reward: RewardConfig) -> RewardConfig:
    key = _key(reward.folder) if isinstance(reward, PythonConfig) else None
    if key is None:
        return reward
    return reward.model_copy(update={"folder": str(storage.get_folder(key))})


def _python(folder: Path) -> Iterator[Path]:
    """The Python files of a folder and of the packages in it: what a function may import."""
    for path in folder.iterdir():
        if path.suffix == ".py":
            yield path
        elif path.is_dir() and (path / "__init__.py").is_file():
            yield from _python(path)
