"""What workers share through Ray's object store, for the length of a pipeline.

An actor beside the driver holds the files; each worker reaches it by its name. The actor owns the
objects, so they outlive the worker that offered them. Whatever goes wrong, the shelf has nothing,
and the worker computes what it needs.
"""

from __future__ import annotations

import shutil
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from align.artifact_cache import Kind, NoArtifactCache, install

#: What a shelf holds at most; what was not asked for longest goes first.
MOST_BYTES = 256 * 2**20
#: How long a worker waits for the actor, which may still be starting on a busy machine.
WAIT_SECONDS = 30.0

#: A folder's files by relative path, a single file by the empty one; each as uint8.
Content = dict[str, Any]


class Held:
    """The actor's part: objects by kind and key, within `most_bytes`."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._found: OrderedDict[tuple[str, str], tuple[Any, int]] = OrderedDict()

    def find(self, kind: str, key: str) -> list[Any]:
        """The reference in a list, so that Ray does not fetch it here; empty if there is none."""
        if (kind, key) not in self._found:
            return []
        self._found.move_to_end((kind, key))
        return [self._found[kind, key][0]]

    def wants(self, kind: str, key: str, size: int) -> bool:
        """Whether something of so many bytes is missing here and has room."""
        return (kind, key) not in self._found and size <= self._most

    def put(self, kind: str, key: str, content: Content) -> None:
        """Keep it as an object of this process's own, and let go of what is beyond the bound."""
        import ray

        size = sum(one.nbytes for one in content.values())
        if not self.wants(kind, key, size):
            return  # another worker was quicker
        self._found[kind, key] = ray.put(content), size
        while sum(size for _, size in self._found.values()) > self._most:
            self._found.popitem(last=False)


@contextmanager
def shelf_session(most_bytes: int = MOST_BYTES) -> Iterator[str]:
    """A shelf on the connected Ray for the length of the block; gives the name for `use_shelf`."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    name = f"alignery-shelf-{uuid.uuid4().hex}"
    # The driver's machine stays to the end; workers' may leave.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    options = {"name": name, "num_cpus": 0, "scheduling_strategy": here}
    actor: Any = ray.remote(Held).options(**options).remote(most_bytes)
    try:
        yield name
    finally:
        ray.kill(actor)


def use_shelf(name: str | None) -> None:
    """Share what this worker prepares by the shelf of that name; with none, by none."""
    install(NoArtifactCache() if name is None else RayShelf(name))


class RayShelf:
    """`align.artifact_cache.ArtifactCache` over the actor of this name."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._actor: Any = None
        self._gone = False
        self._known: set[tuple[str, str]] = set()

    def fetch(self, kind: Kind, key: str, target: Path) -> bool:
        found = self._ask("find", kind, key)
        content = self._get(found[0]) if found else None
        if content is None or not _unpack(content, target):
            return False
        self._known.add((kind, key))
        return True

    def offer(self, kind: Kind, key: str, path: Path) -> None:
        if self._gone or (kind, key) in self._known:
            return
        self._known.add((kind, key))
        try:
            if self._ask("wants", kind, key, _size(path)):
                self._ask("put", kind, key, _pack(path))
        except OSError:
            pass  # another process has just replaced or removed it

    def _ask(self, method: str, *arguments: Any) -> Any:
        """What the actor answers; None if it does not."""
        import ray

        if self._gone:
            return None
        try:
            if self._actor is None:
                self._actor = ray.get_actor(self._name)
            return self._get(getattr(self._actor, method).remote(*arguments))
        except (ray.exceptions.RayError, ValueError):  # dead, or there is none of this name
            self._gone = True
            return None

    def _get(self, reference: Any) -> Any:
        """The object; None if it was lost or takes too long. RayActorError if the actor died."""
        import ray

        try:
            return ray.get(reference, timeout=WAIT_SECONDS)
        except ray.exceptions.RayActorError:
            raise
        except ray.exceptions.RayError:
            return None


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path))


def _files(path: Path) -> list[Path]:
    return [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]


def _pack(path: Path) -> Content:
    import numpy as np

    return {
        "" if file == path else file.relative_to(path).as_posix(): np.fromfile(file, np.uint8)
        for file in _files(path)
    }


def _unpack(content: Content, target: Path) -> bool:
    """Whole or not at all; False if the disk does not take it, or something is there already."""
    fresh = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for name, data in content.items():
            file = fresh / name if name else fresh
            file.parent.mkdir(parents=True, exist_ok=True)
            data.tofile(file)
        fresh.rename(target)
    except OSError:
        return False
    finally:
        if fresh.is_dir():
            shutil.rmtree(fresh, ignore_errors=True)
        else:
            fresh.unlink(missing_ok=True)
    return True
