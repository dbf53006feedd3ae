"""Text without what tells about a user."""

import pytest

from align.gpu_check.privacy import without_paths


@pytest.mark.parametrize(
    "text, safe",
    [
        ("/home/ada/.alignery/models/tiny: no file", "…/tiny: no file"),
        ("cannot read '/tmp/xy/z.json'", "cannot read '…/z.json'"),
        ("File ~/data/rows.jsonl", "File …/rows.jsonl"),
        ("see https://example.org/a/b for 3/4 and q/k/v", None),
        ("Qwen/Qwen2.5-0.5B-Instruct", None),
        ("it is …/name", None),
    ],
)
def test_absolute_paths_lose_their_folders(text: str, safe: str | None) -> None:
    assert without_paths(text) == (text if safe is None else safe)
