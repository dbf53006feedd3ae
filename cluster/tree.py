"""A working tree packed as a zip file, which is shipped with a job.

Ray gets this file as its `working_dir`. Ray could pack a folder itself, by `excludes` and
`.gitignore` files, but it then ships files that git does not track, files that `.git/info/exclude`
or a user's own ignore file names, and what a linked folder outside the project contains; it leaves
out tracked files that a `.gitignore` matches, and from a subfolder packs that subfolder alone. It
also decides while it uploads, so that nothing could be checked for secrets or shown before.
"""

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

#: Never shipped: files that hold secrets by convention.
_SECRET = (".env", ".env.*", "*.pem", "*.key", ".netrc", ".pypirc", ".git-credentials")
#: Folders and files that are not shipped if the project is not in a git checkout.
_FOLDERS = (
    "__pycache__", "node_modules", "venv", "build", "dist", "data", "datasets", "checkpoints",
    "mlruns", "wandb", "*.egg-info",
)  # fmt: skip
_FILES = (
    "*.pyc", "*.jsonl", "*.csv", "*.parquet", "*.arrow", "*.safetensors", "*.gguf", "*.pt",
    "*.bin", "*.db", "*.sqlite",
)  # fmt: skip

#: The earliest date of the zip format. A fixed date makes packages of the same content equal.
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Tree:
    """The files of a project that are shipped: paths below `root`, sorted.

    `left_out` are the checkout's files that git neither tracks nor ignores; None outside git.
    """

    root: Path
    files: tuple[PurePosixPath, ...]
    left_out: tuple[PurePosixPath, ...] | None = None

    def sizes(self) -> dict[PurePosixPath, int]:
        """Bytes of each file."""
        return {path: (self.root / path).stat().st_size for path in self.files}


def working_tree(folder: Path, without: Sequence[Path] = ()) -> Tree:
    """The files of the project around `folder` that are shipped with a job, less `without`.

    In a git checkout: all its tracked files, as they are on disk. Elsewhere: the files in `folder`,
    less hidden folders, caches and data. ClusterError if they have more than LIMIT_BYTES.
    """
    tree = _checkout(folder) or _folder(folder.resolve())
    excluded = {path.resolve() for path in without}
    shipped = tuple(
        path
        for path in tree.files
        if not _matches(path.name, _SECRET) and (tree.root / path).resolve() not in excluded
    )
    tree = Tree(tree.root, shipped, tree.left_out)
    check_size(tree)
    return tree


def check_size(tree: Tree, limit: int = LIMIT_BYTES) -> None:
    """ClusterError names the largest files if the tree is larger than `limit` bytes."""
    sizes = tree.sizes()
    if (total := sum(sizes.values())) <= limit:
        return
    large = sorted(sizes.items(), key=lambda item: -item[1])[:_NAMED]
    listing = ", ".join(f"{name} {_mib(size)}" for name, size in large)
    raise ClusterError(
        f"{tree.root} is too large to travel with a job: {_mib(total)} in {len(sizes)} files, "
        f"where {_mib(limit)} are allowed. Largest: {listing}. Take them out of git, name data as "
        "the recipe's data.path (it is uploaded to storage), or bake the code into the image and "
        "submit with --no-ship"
    )


def write_package(target: Path, tree: Tree | None, added: Mapping[str, bytes]) -> None:
    """Zip the tree's files and `added` (path -> content), which replace files of that path.

    The same content gives the same bytes, so that Ray uploads it once.
    """
    files = {} if tree is None else {str(path): tree.root / path for path in tree.files}
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
        return None  # a folder inside another project's checkout
    return Tree(
        top,
        tuple(sorted(path for path in tracked if (top / path).is_file())),
        tuple(sorted(_names(top, "--others", "--exclude-standard"))),
    )


def _names(top: Path, *options: str) -> set[PurePosixPath]:
    listed = _git(top, "ls-files", "-z", *options) or ""
    return {PurePosixPath(name) for name in listed.split("\0") if name}


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        completed = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return completed.stdout if completed.returncode == 0 else None


def _folder(root: Path) -> Tree:
    if root in (Path.home().resolve(), Path(root.anchor)):
        raise ClusterError(
            f"{root} is no project that could travel with a job; change to the folder of yours, or "
            "submit with --no-ship where the image has the code"
        )
    paths = []
    for parent, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name[0] != "." and not _matches(name, _FOLDERS)]
        relative = Path(parent).relative_to(root)
        paths += [PurePosixPath((relative / name).as_posix()) for name in files]
    shipped = (
        path for path in paths if not _matches(path.name, _FILES) and (root / path).is_file()
    )
    return Tree(root, tuple(sorted(shipped)))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
