"""A working tree as one zip file that a job takes along."""

from __future__ import annotations

import fnmatch
import os
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cluster.errors import ClusterError

#: Ray's dashboard takes no larger upload, and every machine of the pool fetches it.
LIMIT_BYTES = 100 * 2**20
#: How many large files an error names.
_NAMED = 5

#: Never shipped: what holds secrets by custom.
_SECRET = (".env", ".env.*", "*.pem", "*.key", ".netrc", ".pypirc", ".git-credentials")
#: Folders and files that are not shipped from where git does not say what belongs to the project.
_FOLDERS = (
    "__pycache__", "node_modules", "venv", "build", "dist", "data", "datasets", "checkpoints",
    "mlruns", "wandb", "*.egg-info",
)  # fmt: skip
_FILES = (
    "*.pyc", "*.jsonl", "*.csv", "*.parquet", "*.arrow", "*.safetensors", "*.gguf", "*.pt",
    "*.bin", "*.db", "*.sqlite",
)  # fmt: skip

#: The earliest that a zip file can say: one content is one package, whenever it was written.
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Tree:
    """The files of a project that travel: paths below `root`, sorted.

    `left_out` are files beside them that git does not track; None where there is no git.
    """

    root: Path
    files: tuple[PurePosixPath, ...]
    left_out: tuple[PurePosixPath, ...] | None = None

    def sizes(self) -> dict[PurePosixPath, int]:
        """Bytes of each file."""
        return {one: (self.root / one).stat().st_size for one in self.files}


def working_tree(folder: Path, without: Sequence[Path] = ()) -> Tree:
    """What of the project around `folder` travels with a job, less the files `without`.

    In a git checkout: every tracked file of it, as it lies there now. Elsewhere: what lies in
    `folder`, less hidden folders, caches and data. ClusterError if it is more than LIMIT_BYTES.
    """
    tree = _checkout(folder) or _folder(folder.resolve())
    dropped = {one.resolve() for one in without}
    kept = tuple(
        one
        for one in tree.files
        if not _matches(one.name, _SECRET) and (tree.root / one).resolve() not in dropped
    )
    tree = Tree(tree.root, kept, tree.left_out)
    check_size(tree)
    return tree


def check_size(tree: Tree, limit: int = LIMIT_BYTES) -> None:
    """ClusterError names the largest files if the tree is larger than `limit` bytes."""
    sizes = tree.sizes()
    if (total := sum(sizes.values())) <= limit:
        return
    large = sorted(sizes.items(), key=lambda one: -one[1])[:_NAMED]
    named = ", ".join(f"{name} {_mib(size)}" for name, size in large)
    raise ClusterError(
        f"{tree.root} is too large to travel with a job: {_mib(total)} in {len(sizes)} files, "
        f"where {_mib(limit)} are allowed. Largest: {named}. Take them out of git, name data as "
        "the recipe's data.path (it is uploaded to storage), or bake the code into the image and "
        "submit with --no-ship"
    )


def write_package(target: Path, tree: Tree | None, added: Mapping[str, bytes]) -> None:
    """Zip the tree, and `added` (path -> content) in place of what it has there.

    The same content gives the same bytes, so that Ray uploads it once.
    """
    files = {} if tree is None else {str(one): tree.root / one for one in tree.files}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        for name in sorted({**files, **added}):
            content = added[name] if name in added else files[name].read_bytes()
            info = zipfile.ZipInfo(name, _DATE)
            executable = name in files and name not in added and os.access(files[name], os.X_OK)
            info.external_attr = (0o100755 if executable else 0o100644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            package.writestr(info, content)


def _checkout(folder: Path) -> Tree | None:
    """The git checkout that `folder` is in; None if it is in none."""
    root = _git(folder, "rev-parse", "--show-toplevel")
    if root is None:
        return None
    top = Path(root.strip())
    tracked = _names(top, "--cached")
    if not tracked:
        return None  # a folder inside a checkout of something else
    return Tree(
        top,
        tuple(sorted(one for one in tracked if (top / one).is_file())),
        tuple(sorted(_names(top, "--others", "--exclude-standard"))),
    )


def _names(top: Path, *options: str) -> set[PurePosixPath]:
    listed = _git(top, "ls-files", "-z", *options) or ""
    return {PurePosixPath(one) for one in listed.split("\0") if one}


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None


def _folder(root: Path) -> Tree:
    if root in (Path.home().resolve(), Path(root.anchor)):
        raise ClusterError(
            f"{root} is no project that could travel with a job; change to the folder of yours, or "
            "submit with --no-ship where the image has the code"
        )
    found = []
    for where, folders, files in os.walk(root):
        folders[:] = [one for one in folders if one[0] != "." and not _matches(one, _FOLDERS)]
        here = Path(where).relative_to(root)
        found += [PurePosixPath((here / one).as_posix()) for one in files]
    kept = (one for one in found if not _matches(one.name, _FILES) and (root / one).is_file())
    return Tree(root, tuple(sorted(kept)))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
