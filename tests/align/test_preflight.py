"""What is said of a recipe's inputs before anything is started."""

import json
from pathlib import Path

import pytest

from align.errors import DataError
from align.preflight import check_inputs
from tests.align.data.chains import recipe


def test_rewards_have_the_columns_that_they_need(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    rows = [{"prompt": f"p{n}", "hint": "x" if n else None} for n in range(20)]
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    data = {"path": str(path), "train": 10, "validation": 4, "test": 4}
    (tmp_path / "mine.py").write_text("def fits(completion, hint): return hint in completion\n")
    own = {"weight": 1.0, "python": "mine:fits", "folder": str(tmp_path)}
    check_inputs(recipe(grpo={"data": data, "rewards": {"brevity": 1.0, "repetition": 1.0}}))
    with pytest.raises(DataError, match="no row has column 'answer', and reward 'correctness'"):
        check_inputs(recipe(grpo={"data": data, "rewards": {"brevity": 1.0, "correctness": 1.0}}))
    with pytest.raises(DataError, match="row 1: nothing in column 'hint', and reward 'fits'"):
        check_inputs(recipe(grpo={"data": data, "rewards": {"fits": own}}))
