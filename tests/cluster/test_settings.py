import pickle
from pathlib import Path

import pytest

from align.errors import AligneryError
from cluster.errors import SettingsError
from cluster.settings import Settings
from tests.odd_names import ODD_NAMES


def test_everything_lies_in_home_by_default(home: Path) -> None:
    settings = Settings()
    assert settings.home == home
    assert settings.database_url == f"sqlite:///{home}/alignery.db"
    assert settings.storage == str(home / "storage")
    assert settings.ray_address is None


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_home_of_any_name_has_its_database_and_storage_in_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGNERY_HOME", str(tmp_path / name))
    settings = Settings()
    assert settings.home == tmp_path / name
    assert settings.database_file == tmp_path / name / "alignery.db"
    assert settings.database_name == str(tmp_path / name / "alignery.db")
    assert settings.storage == str(tmp_path / name / "storage")
    given_again = Settings(database_url=settings.database_url)  # as workers get them
    assert given_again.database_file == settings.database_file


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


def test_a_relative_home_of_an_odd_name_counts_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALIGNERY_HOME", "-a?b")
    assert Settings().database_file == tmp_path / "-a?b" / "alignery.db"


def test_a_symlink_is_a_home_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "real#1").mkdir()
    (tmp_path / "link").symlink_to("real#1")
    assert Settings(home=tmp_path / "link").database_file == tmp_path / "link" / "alignery.db"


def test_a_path_in_a_url_is_percent_encoded(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/q%3F1/50%25.db?timeout=5")
    assert settings.database_file == tmp_path / "q?1" / "50%.db"
    assert settings.database_url.endswith("/q%3F1/50%25.db?timeout=5")


def test_an_s3_folder_of_an_odd_name_is_percent_encoded() -> None:
    assert Settings(storage="s3://bucket/a%23%20b?region=x").storage.endswith("a%23%20b?region=x")


@pytest.mark.parametrize("password", ["p%40ss", "p%2Fss", "p/ss#?", "p%25+{x}", "%C3%BC"])
def test_a_password_may_hold_any_character(password: str) -> None:
    url = f"postgresql+psycopg://d%40ba:{password}@host:5432/alignery"
    assert Settings(database_url=url).database_url == url
    assert "ss" not in Settings(database_url=url).database_name
    assert Settings(database_url=url).database_file is None


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
        ("DATABASE_URL", "sqlite:////data/q?1/alignery.db", "? is written %3F"),
        ("DATABASE_URL", "sqlite:////data/a.db?mode=ro&uri=true", "unknown parameter 'mode'"),
        ("DATABASE_URL", "postgresql://me:p@secret@host/x", "%40 for @"),
        ("DATABASE_URL", "postgresql://m/e:secret@host/x", "%2F for /"),
        ("DATABASE_URL", "postgresql://me:secret@host:port/x", "user:password@host:5432"),
        ("HOME", "~no-such-user/home", "~no-such-user/home"),
        ("HOME", "/tmp/" + "x" * 300, "too long"),
        ("HOME", "/tmp/a::b", "'/tmp/a::b' holds '::'"),
        ("HOME", "/tmp/\udcff", r"'/tmp/\udcff' is not UTF-8"),
        ("STORAGE", "s3://bucket/a#1", "'#' within a URL is written %23"),
        ("STORAGE", "gs://bucket/a b", "' ' within a URL is written %20"),
        ("STORAGE", "s3://bucket/é", "'é' within a URL is written %C3%A9"),
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
