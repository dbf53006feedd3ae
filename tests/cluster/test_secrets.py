"""What looks like a secret, and where it is found before anything travels."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.errors import SettingsError
from cluster.secrets import check_clean, known_secrets, needed_variables, read_environment
from cluster.settings import Settings

#: A name for each word that tells a secret, with no other such word in it.
TELLING = [
    "PGPASSWORD",
    "MINIO_ROOT_PASSWORD",
    "SMTP_PASSWD",
    "CLIENT_SECRET",
    "HF_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "OPENAI_API_KEY",
    "DD_APIKEY",
    "AWS_ACCESS_KEY_ID",
    "MINIO_ACCESSKEY",
    "SSH_PRIVATE_KEY",
    "TLS_PRIVATEKEY",
]
PLAIN = ["HF_HUB_OFFLINE", "OMP_NUM_THREADS", "KEYBOARD", "PASSES", "WANDB_PROJECT", "PUBLIC_KEY"]
#: URLs and the password in each, as it is looked for in files.
URLS = [
    ("postgresql://me:correct-horse@db.example.com/alignery", b":correct-horse@"),
    ("redis://:correct-horse@cache:6379/0", b":correct-horse@"),
    ("https://me:correct-horse@git.example.com/code.git", b":correct-horse@"),
    ("s3://key:correct-horse@bucket/prefix", b":correct-horse@"),
]
VALUE = "wJalrXUtnFEMIK7MDENG"


def written(folder: Path, line: str) -> Path:
    file = folder / "job.env"
    file.write_text(f"HF_HUB_OFFLINE=1\n{line}\n")
    return file


@pytest.mark.parametrize("change", [str, str.lower, str.title], ids=["upper", "lower", "title"])
@pytest.mark.parametrize("name", TELLING)
def test_an_environment_file_with_such_a_name_is_refused(tmp_path, name, change):
    name = change(name)
    with pytest.raises(SettingsError, match=f"{name} looks like a secret") as refused:
        read_environment(written(tmp_path, f"{name}={VALUE}"))
    assert VALUE not in str(refused.value)
    assert str(refused.value).endswith(f"name it with --secret {name}")


@pytest.mark.parametrize("url", [url for url, _ in URLS])
def test_a_url_with_a_password_is_refused_under_any_name(tmp_path, url):
    with pytest.raises(SettingsError, match="ANYTHING looks like a secret") as refused:
        read_environment(written(tmp_path, f"ANYTHING={url}"))
    assert "correct-horse" not in str(refused.value)


@pytest.mark.parametrize(
    "line",
    [
        *(f"{name}=some-value-of-length" for name in PLAIN),
        "DB=postgresql://me@db.example.com/alignery",
        "PROXY=http://proxy.example.com:3128/a@b",
        "STORAGE=s3://bucket/prefix",
    ],
)
def test_what_is_no_secret_travels(tmp_path, line):
    name, _, value = line.partition("=")
    assert read_environment(written(tmp_path, line)) == {"HF_HUB_OFFLINE": "1", name: value}


@pytest.mark.parametrize("name", [*TELLING, "hf_token"])
def test_secrets_of_this_machine_are_known_by_their_names(monkeypatch, name):
    monkeypatch.setenv(name, VALUE)
    assert known_secrets(Settings(), [])[name] == VALUE.encode()


def test_variables_that_are_named_are_secret_whatever_they_are_called(monkeypatch):
    monkeypatch.setenv("LICENCE", VALUE)
    assert "LICENCE" not in known_secrets(Settings(), [])
    assert known_secrets(Settings(), ["LICENCE", "NOT_SET"])["LICENCE"] == VALUE.encode()
    assert "NOT_SET" not in known_secrets(Settings(), ["NOT_SET"])


def test_only_values_that_are_no_common_words_are_looked_for(monkeypatch):
    monkeypatch.setenv("SHORT_TOKEN", "elevenchars")
    monkeypatch.setenv("LONG_TOKEN", "twelve-chars")
    found = known_secrets(Settings(), [])
    assert "SHORT_TOKEN" not in found and found["LONG_TOKEN"] == b"twelve-chars"


@pytest.mark.parametrize("field", ["database_url", "storage"])
def test_the_passwords_of_shared_settings_are_looked_for_alone(field):
    """The rest of the URL may stand in a recipe or in the documentation."""
    settings = {"database_url": URLS[0], "storage": URLS[3]}
    url, password = settings[field]
    found = known_secrets(Settings(**{field: url}), [])
    assert found[f"ALIGNERY_{field.upper()}"] == password


@pytest.mark.parametrize(
    "text", ["KEY = '{}'\n", "api_key: {}\n", "url: https://me:{}@git.example.com\n", "{}"]
)
def test_contents_that_hold_a_secret_are_named_with_its_variable(text):
    contents = [("a.py", b"harmless"), ("b.yaml", text.format(VALUE).encode())]
    with pytest.raises(SettingsError, match=r"b\.yaml contains the value of HF_TOKEN") as refused:
        check_clean({"OTHER": b"something-else", "HF_TOKEN": VALUE.encode()}, contents)
    assert VALUE not in str(refused.value)
    check_clean({"HF_TOKEN": VALUE.encode()}, contents[:1])


def test_the_cluster_needs_what_is_named_and_the_shared_settings_that_are_set_here():
    here = Settings(database_url=URLS[0][0])
    assert needed_variables(here, ["HF_TOKEN", "HF_TOKEN"]) == ["ALIGNERY_DATABASE_URL", "HF_TOKEN"]
    assert needed_variables(Settings(storage="s3://bucket/a"), []) == ["ALIGNERY_STORAGE"]
    assert needed_variables(Settings(), []) == []
    for wrong in ("A=b", "1A", "A-B", "", f"TOKEN={VALUE}"):
        with pytest.raises(SettingsError, match="takes a variable's name") as refused:
            needed_variables(here, ["HF_TOKEN", wrong])
        assert VALUE not in str(refused.value)


@pytest.mark.parametrize("password", ["open/sesame", "p%40ss%2Fword", "a:b#c d"])
def test_a_databases_password_is_known_whatever_it_holds(password):
    url = f"postgresql://me:{password}@host/x"
    secrets = known_secrets(Settings(database_url=url), ())
    with pytest.raises(SettingsError, match="value of ALIGNERY_DATABASE_URL"):
        check_clean(secrets, [("recipe.yaml", f"url: {url}".encode())])
