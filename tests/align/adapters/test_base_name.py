"""A base's public name is one that others can find, or says which weights are meant."""

import pytest

from align.adapters.base_name import digest_in_name, public_base

DIGEST = "0123456789abcdef" * 4
COMMIT = "c0ffee00" * 5


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("smollm2-135m-instruct", ("HuggingFaceTB/SmolLM2-135M-Instruct", None)),
        ("tiny-random", ("tiny-random", None)),
        ("org/model", ("org/model", "main-commit")),
        ("/home/me/models/mine", ("mine-sha256-0123456789ab", None)),
        ("~/models/mine", ("mine-sha256-0123456789ab", None)),
        (f"/cache/models--org--a--b/snapshots/{COMMIT}", ("org/a--b", COMMIT)),
        (f"/cache/models--org--a--b/snapshots/{COMMIT}/", ("org/a--b", COMMIT)),
        ("/cache/models--org--a/snapshots/main", ("main-sha256-0123456789ab", None)),
    ],
)
def test_a_base_is_named_without_a_path(ref, expected):
    assert public_base(ref, DIGEST, "main-commit") == expected


def test_a_relative_folder_is_no_hub_id(tmp_path, monkeypatch):
    (tmp_path / "models" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    name, _ = public_base("models/mine", DIGEST)
    assert name == "mine-sha256-0123456789ab" and DIGEST.startswith(digest_in_name(name))
    assert digest_in_name("org/model") is None
