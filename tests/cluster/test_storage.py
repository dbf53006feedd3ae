"""One contract for every place that artifacts can lie."""

import tempfile
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from pyarrow.fs import FSSpecHandler, LocalFileSystem, PyFileSystem

from cluster.errors import StorageError
from cluster.settings import Settings
from cluster.storage import RemoteFolders, Storage
from tests.umasks import RIGHTS, modes, umask


@pytest.fixture(params=["path", "files behind pyarrow", "objects in memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, home: Path) -> Storage:
    storage = Storage(Settings(home=home, storage=str(tmp_path / "store")))
    if request.param == "files behind pyarrow":
        storage._folders = RemoteFolders(
            LocalFileSystem(), str(tmp_path / "bucket"), home / "cache"
        )
    elif request.param == "objects in memory":
        filesystem = PyFileSystem(FSSpecHandler(fsspec.filesystem("memory")))
        storage._folders = RemoteFolders(filesystem, f"/bucket-{uuid.uuid4().hex}", home / "cache")
    return storage


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], Path]:
    def make(content: str) -> Path:
        path = tmp_path / f"folder-{content}"
        (path / "inner").mkdir(parents=True)
        (path / "a.txt").write_text(content)
        (path / "inner" / "b.txt").write_text(content * 2)
        return path

    return make


Make = Callable[[str], Path]


def read(path: Path) -> dict[str, str]:
    return {
        one.relative_to(path).as_posix(): one.read_text()
        for one in path.rglob("*")
        if one.is_file()
    }


def test_what_is_put_comes_back(storage: Storage, folder: Make) -> None:
    assert not storage.exists("adapters/one")
    storage.put_folder(folder("x"), "adapters/one")
    assert storage.exists("adapters/one")
    assert read(storage.get_folder("adapters/one")) == {"a.txt": "x", "inner/b.txt": "xx"}


def test_a_put_replaces_the_whole_folder(storage: Storage, folder: Make) -> None:
    first = folder("x")
    (first / "extra.txt").write_text("only in the first")
    storage.put_folder(first, "k")
    storage.get_folder("k")
    storage.put_folder(folder("y"), "k")
    assert read(storage.get_folder("k")) == {"a.txt": "y", "inner/b.txt": "yy"}


def test_the_source_may_vanish(storage: Storage, folder: Make) -> None:
    source = folder("x")
    storage.put_folder(source, "k")
    (source / "a.txt").unlink()
    assert "a.txt" in read(storage.get_folder("k"))


def test_keys_are_listed_by_prefix(storage: Storage, folder: Make) -> None:
    assert storage.keys() == []
    for key in ("adapters/b", "adapters/a", "sweeps/1/2"):
        storage.put_folder(folder(key.replace("/", "")), key)
    assert storage.keys() == ["adapters/a", "adapters/b", "sweeps/1/2"]
    assert storage.keys("adapters/") == ["adapters/a", "adapters/b"]


def test_delete_removes_one_key_and_is_repeatable(storage: Storage, folder: Make) -> None:
    storage.put_folder(folder("x"), "a/1")
    storage.put_folder(folder("y"), "a/2")
    storage.delete("a/1")
    storage.delete("a/1")
    assert storage.keys() == ["a/2"]
    with pytest.raises(StorageError, match="nothing is stored under 'a/1'"):
        storage.get_folder("a/1")


@pytest.mark.parametrize(
    "key", ["", "/etc", "../out", "a/../../b", "a//b", "a/", ".hidden", "a\nb", "a\n"]
)
def test_a_key_cannot_leave_the_root(storage: Storage, folder: Make, key: str) -> None:
    with pytest.raises(StorageError, match="is no key"):
        storage.put_folder(folder("x"), key)
    with pytest.raises(StorageError, match="is no key"):
        storage.get_folder(key)


def test_a_key_cannot_lie_inside_another(storage: Storage, folder: Make) -> None:
    storage.put_folder(folder("x"), "a")
    with pytest.raises(StorageError, match="inside 'a'"):
        storage.put_folder(folder("y"), "a/b/c")


def test_nothing_to_put(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no folder with files"):
        storage.put_folder(tmp_path / "absent", "k")
    assert storage.keys() == []


def test_rival_writers_of_one_key_leave_one_whole_folder(storage: Storage, folder: Make) -> None:
    failures: list[Exception] = []

    def write(source: Path) -> None:
        try:
            for _ in range(5):
                storage.put_folder(source, "k")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(folder(f"w{n}"),)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = read(storage.get_folder("k"))
    assert failures == []
    assert content == {"a.txt": content["a.txt"], "inner/b.txt": content["a.txt"] * 2}
    assert storage.keys() == ["k"]


def test_a_name_that_a_rival_is_writing_is_no_reason_to_drop_everything(
    tmp_path: Path, home: Path, folder: Make
) -> None:
    """Where writing is no single act, `.current` is empty for a moment."""
    remote = RemoteFolders(LocalFileSystem(), str(tmp_path / "bucket"), home / "cache")
    remote.put(folder("x"), "k")
    (tmp_path / "bucket" / "k" / ".current").write_bytes(b"")
    remote.put(folder("y"), "k")
    assert read(remote.get("k"))["a.txt"] == "y"


def test_a_local_put_leaves_no_rest(tmp_path: Path, folder: Make) -> None:
    storage = Storage(Settings(storage=str(tmp_path / "store")))
    storage.put_folder(folder("x"), "k")
    storage.put_folder(folder("y"), "k")
    rest = [one for one in (tmp_path / "store").rglob("*") if one.is_file()]
    assert {one.relative_to(tmp_path / "store").parts[0] for one in rest} == {"k"}


def test_a_key_above_others_is_refused_locally(tmp_path: Path, folder: Make) -> None:
    storage = Storage(Settings(storage=str(tmp_path / "store")))
    storage.put_folder(folder("x"), "a/b")
    with pytest.raises(StorageError):
        storage.put_folder(folder("y"), "a")
    assert storage.keys() == ["a/b"]


def test_a_remote_folder_is_fetched_once(
    tmp_path: Path, home: Path, folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = RemoteFolders(LocalFileSystem(), str(tmp_path / "bucket"), home / "cache")
    remote.put(folder("x"), "k")
    first = remote.get("k")
    monkeypatch.setattr(remote, "_download", lambda *_: pytest.fail("fetched again"))
    assert remote.get("k") == first
    assert first.is_relative_to(home / "cache")


def test_a_folder_replaced_while_it_is_fetched_is_fetched_again(
    tmp_path: Path, home: Path, folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = RemoteFolders(LocalFileSystem(), str(tmp_path / "bucket"), home / "cache")
    remote.put(folder("x"), "k")
    download, replacement = remote._download, folder("y")

    def interrupted(source: str, target: Path) -> None:
        monkeypatch.setattr(remote, "_download", download)
        download(source, target)
        remote.put(replacement, "k")

    monkeypatch.setattr(remote, "_download", interrupted)
    assert read(remote.get("k"))["a.txt"] == "y"


def test_an_upload_cut_short_is_not_there(
    tmp_path: Path, home: Path, folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = RemoteFolders(LocalFileSystem(), str(tmp_path / "bucket"), home / "cache")
    create = remote._create
    monkeypatch.setattr(
        remote, "_create", lambda path: _lost() if path.endswith("b.txt") else create(path)
    )
    with pytest.raises(OSError):
        remote.put(folder("x"), "k")
    assert not remote.exists("k")
    assert list(remote.every()) == []


def _lost() -> None:
    raise OSError("connection lost")


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path, folder: Make) -> None:
    (tmp_path / "file").touch()
    storage = Storage(Settings(storage=str(tmp_path / "file" / "store")))
    with pytest.raises(StorageError, match=r"cannot store 'k' in .*ALIGNERY_STORAGE"):
        storage.put_folder(folder("x"), "k")


@pytest.mark.parametrize("value", RIGHTS)
def test_another_user_can_read_what_the_umask_lets_them(value: int, tmp_path: Path) -> None:
    source = Path(tempfile.mkdtemp(dir=tmp_path))  # of mode 700
    (source / "inner").mkdir()
    files_there = ("adapter.safetensors", "inner/state")
    for name in files_there:
        (source / name).touch(mode=0o600)
    with umask(value):
        Storage(Settings(home=tmp_path / "home")).put_folder(source, "adapters/1")
    file_mode, folder_mode = RIGHTS[value]
    found = modes(tmp_path / "home")
    files = {found.pop(f"storage/adapters/1/{name}") for name in files_there}
    assert files == {file_mode} and set(found.values()) == {folder_mode}
