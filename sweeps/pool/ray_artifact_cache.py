"""A cache of artifacts that workers share through Ray's object store while a pipeline runs.

An actor on the driver's machine holds the files; workers find it by name. The actor owns the
objects, so they outlive the worker that offered them. On any failure the cache acts as empty, and
the worker computes the artifact itself. A shelf is one such cache.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from align.artifact_cache import Kind, NoArtifactCache, install
from align.atomic_write import atomic_path

#: Largest total size of a shelf in bytes; the least recently used entries are evicted first.
MOST_BYTES = 256 * 2**20
#: Seconds that a worker waits for the actor, which may still be starting on a busy machine.
WAIT_SECONDS = 30.0

#: A folder's files by relative path, or a single file by the empty path; each a uint8 array.
Content = dict[str, Any]


class Held:
    """The actor: an LRU cache of objects by kind and key, of at most `most_bytes`."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._found: OrderedDict[tuple[str, str], tuple[Any, int]] = OrderedDict()

    def find(self, kind: str, key: str) -> list[Any]:
        """The reference in a list, so that Ray does not dereference it; empty if there is none."""
        if (kind, key) not in self._found:
            return []
        self._found.move_to_end((kind, key))
        return [self._found[kind, key][0]]

    def wants(self, kind: str, key: str, size: int) -> bool:
        """Whether the entry is missing and `size` bytes are not too large for the cache."""
        return (kind, key) not in self._found and size <= self._most

    def put(self, kind: str, key: str, content: Content) -> None:
        """Store the content as an object that the actor owns, and evict down to the size limit."""
        import ray

        size = sum(array.nbytes for array in content.values())
        if not self.wants(kind, key, size):
            return  # another worker was quicker
        self._found[kind, key] = ray.put(content), size
        while sum(size for _, size in self._found.values()) > self._most:
            self._found.popitem(last=False)


@contextmanager
def shelf_session(most_bytes: int = MOST_BYTES) -> Iterator[str]:
    """A shelf on the connected Ray until the block ends; yields the name for `use_shelf`."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    name = f"alignery-shelf-{uuid.uuid4().hex}"
    # The driver's machine stays to the end; machines of workers may leave.
    on_this_node = NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=True
    )
    options = {"name": name, "num_cpus": 0, "scheduling_strategy": on_this_node}
    actor: Any = ray.remote(Held).options(**options).remote(most_bytes)
    try:
        yield name
    finally:
        ray.kill(actor)


def use_shelf(name: str | None) -> None:
    """Make this process share artifacts through the shelf `name`; None: share none."""
    install(NoArtifactCache() if name is None else RayShelf(name))


class RayShelf:
    """`align.artifact_cache.ArtifactCache` over the actor of this name."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._actor: Any = None
        self._gone = False
        self._known: set[tuple[str, str]] = set()

    def fetch(self, kind: Kind, key: str, target: Path) -> bool:
        references = self._ask("find", kind, key)
        content = self._get(references[0]) if references else None
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
            pass  # another process has just replaced or removed the files

    def _ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the actor; None if it does not answer."""
        import ray

        if self._gone:
            return None
        try:
            if self._actor is None:
                self._actor = ray.get_actor(self._name)
            return self._get(getattr(self._actor, method).remote(*arguments))
        except (ray.exceptions.RayError, ValueError):  # the actor is dead or unknown
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
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]


def _pack(path: Path) -> Content:
    import numpy as np

    return {
        "" if file == path else file.relative_to(path).as_posix(): np.fromfile(file, np.uint8)
        for file in _files(path)
    }


def _unpack(content: Content, target: Path) -> bool:
    """Write the content to `target` atomically; False if writing fails or `target` exists."""
    try:
        with atomic_path(target) as partial:
            partial.parent.mkdir(parents=True, exist_ok=True)
            for name, data in content.items():
                file = partial / name if name else partial
                file.parent.mkdir(parents=True, exist_ok=True)
                data.tofile(file)
    except OSError:
        return False
    return True
