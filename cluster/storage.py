"""Artifacts: whole folders by key, on a local path, `s3://` or `gs://`.

A key is a relative path such as `adapters/<id>`. The folder under a key is replaced as a whole: a
reader gets the old folder, the new folder or none, and never a mixture. On a local path a folder
that is being read vanishes when its key is replaced or deleted.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from align.atomic_write import atomic_path, copy_folder
from cluster.errors import StorageError
from cluster.settings import Settings

_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=-]*(/[A-Za-z0-9_][A-Za-z0-9._=-]*)*")

#: Remote object that names the upload a key stands for; written last, so it is the commit.
_CURRENT = ".current"
#: Local folder for folders that are not complete yet, or are being deleted.
_TRASH = ".unfinished"


class _Missing(Exception):
    """Nothing complete lies under a key."""


class _Folders(Protocol):
    """Interface of a storage backend. Keys are valid; errors are the backend's own."""

    def put(self, local: Path, key: str) -> None: ...
    def get(self, key: str) -> Path: ...
    def exists(self, key: str) -> bool: ...
    def delete(self, key: str) -> None: ...
    def every(self) -> Iterator[str]: ...


class Storage:
    """Folders by key at `settings.storage`. All methods raise StorageError."""

    def __init__(self, settings: Settings) -> None:
        self.root = settings.storage
        self._folders = _open(settings)

    def put_folder(self, local: Path, key: str) -> None:
        """Store a copy of the folder `local` under `key`, in place of any earlier folder."""
        with self._clearly("store", key):
            if not local.is_dir() or not any(entry.is_file() for entry in local.iterdir()):
                raise StorageError(f"'{local}' is no folder with files in it")
            for parent in PurePosixPath(_valid(key)).parents[:-1]:
                if self._folders.exists(str(parent)):
                    raise StorageError(f"'{key}' lies inside '{parent}', which is a key itself")
            self._folders.put(local, key)

    def get_folder(self, key: str) -> Path:
        """The folder under `key`, only for reading: the stored folder, or a cached download."""
        with self._clearly("fetch", key):
            return self._folders.get(_valid(key))

    def exists(self, key: str) -> bool:
        """Whether a complete folder lies under `key`."""
        with self._clearly("look up", key):
            return self._folders.exists(_valid(key))

    def delete(self, key: str) -> None:
        """Remove the folder under `key`, if it exists."""
        with self._clearly("delete", key):
            self._folders.delete(_valid(key))

    def keys(self, prefix: str = "") -> list[str]:
        """All keys that start with `prefix`, sorted."""
        with self._clearly("list", prefix):
            return sorted(key for key in self._folders.every() if key.startswith(prefix))

    @contextmanager
    def _clearly(self, verb: str, key: str) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except _Missing:
            raise StorageError(f"nothing is stored under '{key}' in {self.root}") from None
        except Exception as error:  # object stores raise types of their own
            cause = " ".join(str(error).split()) or type(error).__name__
            raise StorageError(
                f"cannot {verb} '{key}' in {self.root}: {cause}; "
                "check ALIGNERY_STORAGE and its credentials with `alignery cluster check`"
            ) from error


def _valid(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise StorageError(
            f"'{key}' is no key; a key is parts of letters, digits and . _ = - joined by /, "
            "and no part starts with a dot"
        )
    return key


def _open(settings: Settings) -> _Folders:
    if "://" not in settings.storage:
        return LocalFolders(Path(settings.storage))
    from pyarrow.fs import FileSystem

    try:
        filesystem, root = FileSystem.from_uri(settings.storage)
    except Exception as error:
        cause = " ".join(str(error).split())
        raise StorageError(f"ALIGNERY_STORAGE: {settings.storage}: {cause}") from error
    return RemoteFolders(filesystem, root, settings.home / "cache")


class LocalFolders:
    """Folders on a path that every machine sees; `get` returns the stored folder itself."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, local: Path, key: str) -> None:
        target, scratch = self._root / key, self._scratch()
        copy_folder(local, scratch)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            while not _renamed(scratch, target):  # until no other writer is faster
                if _kinds(target) == {"folder"}:
                    raise StorageError(f"'{key}' has other keys below it")
                self._discard(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def get(self, key: str) -> Path:
        if not self.exists(key):
            raise _Missing
        return self._root / key

    def exists(self, key: str) -> bool:
        return "file" in _kinds(self._root / key)

    def delete(self, key: str) -> None:
        if self.exists(key):
            self._discard(self._root / key)

    def every(self) -> Iterator[str]:
        pending = [self._root] if self._root.is_dir() else []
        while pending:
            folder = pending.pop()
            entries = [entry for entry in folder.iterdir() if entry.name != _TRASH]
            if folder != self._root and any(entry.is_file() for entry in entries):
                yield folder.relative_to(self._root).as_posix()
            else:
                pending.extend(entry for entry in entries if entry.is_dir())

    def _discard(self, folder: Path) -> None:
        """Move the folder out of sight in one step, then delete its files."""
        scratch = self._scratch()
        try:
            folder.rename(scratch)
        except FileNotFoundError:
            return
        shutil.rmtree(scratch)

    def _scratch(self) -> Path:
        trash = self._root / _TRASH
        trash.mkdir(parents=True, exist_ok=True)
        return trash / uuid.uuid4().hex


def _renamed(source: Path, target: Path) -> bool:
    """Move a folder; False if `target` is a folder with content."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _kinds(folder: Path) -> set[str]:
    """The kinds of a folder's entries, by a single listing: other writers may move the folder."""
    try:
        with os.scandir(folder) as entries:
            return {"file" if entry.is_file() else "folder" for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return set()


class RemoteFolders:
    """Folders in an object store: `<key>/<upload>/…`, and `<key>/.current` naming the upload.

    Downloads are cached at `cache/<key>/<upload>`, so an unchanged folder is fetched once.
    """

    def __init__(self, filesystem: Any, root: str, cache: Path) -> None:
        self._fs = filesystem
        self._root = root.rstrip("/")
        self._cache = cache

    def put(self, local: Path, key: str) -> None:
        upload, old = uuid.uuid4().hex, self._upload(key)
        for file in sorted(path for path in local.rglob("*") if path.is_file()):
            target = f"{self._at(key)}/{upload}/{file.relative_to(local).as_posix()}"
            with file.open("rb") as source, self._create(target) as stream:
                shutil.copyfileobj(source, stream, 1 << 20)
        with self._create(f"{self._at(key)}/{_CURRENT}") as stream:
            stream.write(upload.encode())
        if old is not None:
            self._drop(key, old)

    def get(self, key: str) -> Path:
        upload = self._upload(key)
        while upload is not None:
            folder = self._cache / key / upload
            if folder.is_dir():
                return folder
            self._download(f"{self._at(key)}/{upload}", folder)
            if (current := self._upload(key)) == upload:
                return folder
            shutil.rmtree(folder)  # replaced meanwhile: some of its files may be missing
            upload = current
        raise _Missing

    def exists(self, key: str) -> bool:
        return self._upload(key) is not None

    def delete(self, key: str) -> None:
        if (upload := self._upload(key)) is not None:
            with suppress(FileNotFoundError):
                self._fs.delete_file(f"{self._at(key)}/{_CURRENT}")
            self._drop(key, upload)
        shutil.rmtree(self._cache / key, ignore_errors=True)

    def every(self) -> Iterator[str]:
        for info in self._list(self._root):
            path = PurePosixPath(info.path)
            if path.name == _CURRENT:
                yield path.parent.as_posix().removeprefix(self._root).strip("/")

    def _at(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _upload(self, key: str) -> str | None:
        try:
            with self._fs.open_input_stream(f"{self._at(key)}/{_CURRENT}") as stream:
                # Empty while it is written, on file systems whose writes are not atomic.
                return str(stream.read().decode()) or None
        except FileNotFoundError:
            return None

    def _drop(self, key: str, upload: str) -> None:
        with suppress(OSError):  # another writer was faster; leftovers only cost space
            self._fs.delete_dir(f"{self._at(key)}/{upload}")

    def _list(self, folder: str) -> list[Any]:
        from pyarrow.fs import FileSelector

        return list(
            self._fs.get_file_info(FileSelector(folder, recursive=True, allow_not_found=True))
        )

    def _create(self, path: str) -> Any:
        try:
            return self._fs.open_output_stream(path)
        except FileNotFoundError:  # a file system that wants folders; object stores have none
            self._fs.create_dir(path.rpartition("/")[0], recursive=True)
            return self._fs.open_output_stream(path)

    def _download(self, source: str, folder: Path) -> None:
        try:
            with atomic_path(folder) as partial:
                for info in self._list(source):
                    if info.is_file:
                        self._copy(
                            info.path, partial / PurePosixPath(info.path).relative_to(source)
                        )
        except OSError:
            if not folder.is_dir():  # else another process was faster with the same files
                raise

    def _copy(self, source: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._fs.open_input_stream(source) as stream, target.open("wb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)
