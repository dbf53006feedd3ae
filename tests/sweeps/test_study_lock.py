"""A study has one driver; here on SQLite. Its contract has processes and PostgreSQL."""

import os

import pytest
from sqlalchemy.exc import OperationalError

from cluster.settings import Settings
from sweeps.errors import SweepLocked
from sweeps.study_lock import StudyLock, lock_folder


def test_a_second_driver_is_told_who_the_first_is_until_it_lets_go(settings, database):
    first = StudyLock(settings, database, "toy/sft/1-abc")
    with pytest.raises(SweepLocked, match=rf"driven by process {os.getpid()} on .*status toy/sft`"):
        StudyLock(settings, database, "toy/sft/1-abc")
    first.release()
    first.release()  # once more is no error
    StudyLock(settings, database, "toy/sft/1-abc").release()


def test_studies_are_locked_one_by_one(settings, database):
    locks = [StudyLock(settings, database, name) for name in ("toy/sft/1-abc", "toy/sft/2-abc")]
    for lock in locks:
        lock.release()


def test_all_who_use_a_sqlite_file_share_its_locks(settings, tmp_path):
    url = f"sqlite:///{tmp_path}/shared/alignery.db"
    homes = [Settings(home=tmp_path / name, database_url=url) for name in ("one", "two")]
    assert {lock_folder(one) for one in homes} == {tmp_path / "shared" / "locks"}
    assert (tmp_path / "shared" / "locks").is_dir()
    server = Settings(home=tmp_path / "one", database_url="postgresql://db.example.com/alignery")
    assert lock_folder(server) == tmp_path / "one" / "locks"


def test_a_lost_lock_stays_lost_until_it_is_taken_again(settings, database, monkeypatch):
    class Ended:
        """A connection whose database session has ended."""

        def scalar(self, _query):
            raise OperationalError("SELECT 1", {}, Exception("the connection is closed"))

        def invalidate(self):
            pass

    lock = StudyLock(settings, database, "toy/sft/1-abc")
    taken = [SweepLocked("another has it")] * 2

    def lock_session():
        if taken:
            raise taken.pop()

    monkeypatch.setattr(lock, "_connection", Ended())
    monkeypatch.setattr(lock, "_lock_session", lock_session)
    for _ in range(2):
        with pytest.raises(SweepLocked, match="another has it"):
            lock.check()
    lock.check()
    lock.release()
