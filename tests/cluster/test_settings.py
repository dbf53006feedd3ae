import pickle
from pathlib import Path

import pytest

from align.errors import AligneryError
from cluster.errors import SettingsError
from cluster.settings import Settings


def test_everything_lies_in_home_by_default(home: Path) -> None:
    settings = Settings()
    assert settings.home == home
    assert settings.database_url == f"sqlite:///{home}/alignery.db"
    assert settings.storage == str(home / "storage")
    assert settings.ray_address is None


def test_home_is_in_the_users_folder_without_any_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALIGNERY_HOME")
    assert Settings().home == Path.home() / ".alignery"


def test_reading_settings_creates_nothing(home: Path, tmp_path: Path) -> None:
    Settings()
    assert list(tmp_path.iterdir()) == []


def test_arguments_go_before_variables_and_those_before_dotenv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("ALIGNERY_STORAGE=/a\nALIGNERY_RAY_ADDRESS=auto\nOTHER=1\n")
    assert Settings().storage == "/a"
    monkeypatch.setenv("ALIGNERY_STORAGE", "/b")
    assert Settings().storage == "/b"
    assert Settings(storage="/c").storage == "/c"
    assert Settings().ray_address == "auto"


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIGNERY_HOME", "here")
    monkeypatch.setenv("ALIGNERY_DATABASE_URL", "sqlite:///some.db")
    settings = Settings()
    assert settings.home == tmp_path / "here"
    assert settings.database_url == f"sqlite:///{tmp_path}/some.db"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_gets_its_driver(scheme: str) -> None:
    settings = Settings(database_url=f"{scheme}://me:secret@host:5432/alignery")
    assert settings.database_url == "postgresql+psycopg://me:secret@host:5432/alignery"
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("DATABASE_URL", "mysql://root:secret@host/x", "unknown kind of database 'mysql'"),
        ("DATABASE_URL", "/some/file.db", "sqlite:///"),
        ("DATABASE_URL", "sqlite://", "in memory"),
        ("STORAGE", "ftp://host/x", "unknown kind of storage 'ftp'"),
        ("STORAGE", "s3://", "names no bucket"),
        ("RAY_ADDRESS", "head-node", "host:port"),
        ("RAY_ADDRESS", "head-node:6379\n", "host:port"),
        ("JOBS_ADDRESS", "http://head-node:8265\n", "http://host:8265"),
        ("JOBS_ADDRESS", "http://me:secret@head-node:8265", "without user or password"),
    ],
)
def test_a_bad_value_names_its_variable(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ALIGNERY_{variable}", value)
    with pytest.raises(SettingsError) as caught:
        Settings()
    message = str(caught.value)
    assert f"ALIGNERY_{variable}: " in message and said in message
    assert "secret" not in message and "\n" not in message
    assert isinstance(caught.value, AligneryError)


def test_a_bad_home_is_the_only_thing_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ALIGNERY_HOME", str(tmp_path / "file"))
    with pytest.raises(SettingsError, match=r"ALIGNERY_HOME: '.*file' is a file") as caught:
        Settings()
    assert "DATABASE" not in str(caught.value)


def test_settings_travel_to_workers() -> None:
    settings = Settings(storage="s3://bucket/prefix/")
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert settings.storage == "s3://bucket/prefix"
