"""The code that an adapter was trained with."""

import subprocess

import pytest

from align.adapters import provenance


@pytest.fixture
def asked_anew():
    provenance.code_commit.cache_clear()
    yield
    provenance.code_commit.cache_clear()


def test_the_code_of_a_checkout_is_named(asked_anew, tmp_path, monkeypatch):
    def git(*words):
        user = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *user, *words], check=True, capture_output=True)

    module = tmp_path / "align" / "adapter" / "provenance.py"
    module.parent.mkdir(parents=True)
    module.write_text("1")
    monkeypatch.setattr(provenance, "__file__", str(module))
    monkeypatch.delenv("ALIGNERY_COMMIT", raising=False)
    assert provenance.code_commit() is None  # no checkout
    provenance.code_commit.cache_clear()
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    commit = provenance.code_commit()
    assert commit is not None and len(commit) == 40
    provenance.code_commit.cache_clear()
    module.write_text("2")
    assert provenance.code_commit() == f"{commit}-dirty"
    provenance.code_commit.cache_clear()
    monkeypatch.setenv("ALIGNERY_COMMIT", "v1.2")
    assert provenance.code_commit() == "v1.2"
