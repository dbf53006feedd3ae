"""Where compiled kernels are kept: one compilation for all homes, and nobody else's code."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from align.inference.kernels.build import compiled
from tests.waiting import wait_until

#: Tells that it was called, waits where it is told to, and makes a library of nothing in no time.
COMPILER = """#!/bin/sh
for target; do :; done
echo called >> "{folder}/calls"
[ -e "{folder}/broken" ] && echo "no such flag" >&2 && exit 1
while [ -e "{folder}/hold" ]; do sleep 0.05; done
exec cc -shared -x c /dev/null -o "$target"
"""
ASK = (
    "import pathlib, torch\n"
    "from align.inference.kernels.build import compiled\n"
    "pathlib.Path('ready-' + {name!r}).touch()\n"
    "print(compiled(torch.float32)._name)"
)


class Machine:
    """One with a compiler that counts, where nothing is compiled yet."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.cache = folder / "cache"
        self.kernels = self.cache / "alignery" / "kernels"
        self._monkeypatch = monkeypatch
        compiler = folder / "compiler"
        compiler.write_text(COMPILER.format(folder=folder))
        compiler.chmod(0o700)
        monkeypatch.setenv("CC", str(compiler))
        monkeypatch.setenv("XDG_CACHE_HOME", str(self.cache))
        self.home("one")

    def home(self, name: str) -> Path:
        home = self.folder / name
        self._monkeypatch.setenv("ALIGNERY_HOME", str(home))
        return home

    def library(self, dtype: torch.dtype = torch.float32) -> Path | None:
        """As a process that has just started finds it."""
        compiled.cache_clear()
        found = compiled(dtype)
        return None if found is None else Path(found._name)

    @property
    def calls(self) -> int:
        file = self.folder / "calls"
        return len(file.read_text().splitlines()) if file.is_file() else 0


@pytest.fixture
def machine(tmp_path, monkeypatch):
    if sys.platform != "linux" or shutil.which("cc") is None:
        pytest.skip("no C compiler")
    yield Machine(tmp_path, monkeypatch)
    compiled.cache_clear()


def test_homes_share_what_one_of_them_compiled(machine):
    first = machine.library()
    assert first is not None and first.parent == machine.kernels
    assert machine.kernels.stat().st_mode & 0o777 == 0o700
    other = machine.home("two")
    assert machine.library() == first
    assert machine.calls == 1
    assert not (other / "kernels").exists()
    assert machine.library(torch.bfloat16) not in (None, first)
    assert machine.calls == 2


def test_of_two_processes_at_once_one_compiles_and_the_other_waits(machine):
    (machine.folder / "hold").touch()
    both = [
        subprocess.Popen(
            [sys.executable, "-c", ASK.format(name=name)],
            cwd=machine.folder,
            env={**os.environ, "ALIGNERY_HOME": name},
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    wait_until(
        lambda: len(list(machine.folder.glob("ready-*"))) >= 2 and machine.calls,
        "both processes are ready, and one of them compiles",
        seconds=300,
    )
    (machine.folder / "hold").unlink()
    said = {one.communicate(timeout=300)[0].strip() for one in both}
    assert len(said) == 1 and Path(said.pop()).parent == machine.kernels
    assert machine.calls == 1


def test_one_that_was_killed_while_it_compiled_holds_nobody_up(machine):
    (machine.folder / "hold").touch()
    killed = subprocess.Popen(
        [sys.executable, "-c", ASK.format(name="killed")],
        cwd=machine.folder,
    )
    wait_until(lambda: machine.calls or killed.poll() is not None, "it compiles", seconds=300)
    assert killed.poll() is None
    killed.kill()
    killed.wait()
    (machine.folder / "hold").unlink()
    assert machine.library() is not None
    assert machine.calls == 2


def test_one_that_never_ends_is_not_waited_for(machine, monkeypatch):
    found = machine.library()
    assert found is not None
    monkeypatch.setattr("align.inference.kernels.build.PATIENCE_SECONDS", 0.1)
    found.unlink()
    with FileLock(found.with_suffix(".lock")):
        assert machine.library() == found
    assert machine.calls == 2


@pytest.mark.parametrize("mode", [0o770, 0o707], ids=["group", "everybody"])
@pytest.mark.parametrize("which", [".", ".."], ids=["it", "its parent"])
def test_a_folder_in_which_others_may_write_is_not_used(machine, which, mode):
    machine.kernels.mkdir(parents=True, mode=0o700)
    (machine.kernels / which).chmod(mode)
    found = machine.library()
    assert found is not None and found.parent == machine.folder / "one" / "kernels"
    assert not list(machine.kernels.iterdir())
    assert machine.library() == found and machine.calls == 1


def test_a_folder_of_somebody_else_is_not_used(machine, monkeypatch):
    machine.kernels.mkdir(parents=True, mode=0o700)
    monkeypatch.setattr("os.getuid", lambda: machine.kernels.stat().st_uid + 1)
    found = machine.library()
    assert found is not None and found.parent == machine.folder / "one" / "kernels"
    assert not list(machine.kernels.iterdir())


def test_where_no_folder_can_be_made_the_home_has_them(machine):
    machine.cache.touch()  # a file is in its place
    found = machine.library()
    assert found is not None and found.parent == machine.folder / "one" / "kernels"


def test_a_user_without_a_home_folder_has_them_in_alignerys(machine, monkeypatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("pathlib.Path.home", homeless)
    found = machine.library()
    assert found is not None and found.parent == machine.folder / "one" / "kernels"


@pytest.mark.parametrize("left", [0, 0.5, 0.999])
def test_a_damaged_library_is_made_again(machine, left):
    found = machine.library()
    assert found is not None
    whole = found.read_bytes()
    # A new file in its place: this process has the old one open.
    found.unlink()
    found.write_bytes(whole[: int(left * len(whole))])
    assert machine.library() == found
    assert machine.calls == 2
    ctypes.CDLL(str(found))
    assert machine.library() == found and machine.calls == 2


def test_a_source_that_cannot_be_compiled_is_one_warning(machine, caplog):
    (machine.folder / "broken").touch()
    assert machine.library() is None
    assert [one.message for one in caplog.records] == [
        "cpu.c could not be compiled (no such flag): decoding is slower"
    ]
    assert machine.calls == 1
    (machine.folder / "broken").unlink()
    assert machine.library() is not None


def test_a_compiler_that_hangs_is_one_warning(machine, caplog, monkeypatch):
    monkeypatch.setattr("align.inference.kernels.build.COMPILE_SECONDS", 0.2)
    (machine.folder / "hold").touch()
    assert machine.library() is None
    (machine.folder / "hold").unlink()
    assert len(caplog.records) == 1 and "timed out" in caplog.text
