"""Functions of one's own: what they are given, where they are looked for, what is refused."""

from pathlib import Path

import pytest

from align.errors import RecipeError
from align.recipe.rewards import configure, located
from align.rewards import Rewards
from tests.align.rewards.scoring import ASK


def test_a_function_of_your_own_gets_what_it_names(own):
    configs = own(
        "from helper import tail\n"
        "def exact(completion, answer): return tail(completion) == answer\n",
        "exact",
    )
    Path(configs["exact"].folder, "helper.py").write_text("def tail(text): return text[-1]\n")
    rewards = Rewards(configs)
    columns = {"answer": ["7", "8"], "other": [1, 2]}
    assert rewards.parts([ASK] * 2, ["= 7"] * 2, columns) == {"exact": [1.0, 0.0]}


def test_a_function_that_takes_all_gets_all(own):
    configs = own("def every(**known): return len(known) + len(known['prompt'])", "every")
    assert Rewards(configs).parts([ASK], ["x"], {"answer": ["7"]}) == {"every": [4.0]}


def test_functions_of_one_name_in_two_folders_stay_apart(tmp_path):
    found = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "beside.py").write_text(f"NUMBER = {number}")
        (folder / "mine.py").write_text(
            "from beside import NUMBER\ndef score(completion): return NUMBER"
        )
        configs = located(configure({"own": {"weight": 1, "python": "mine:score"}}), folder)
        found.append(Rewards(configs).parts([ASK], ["x"], {})["own"][0])
    assert found == [1.0, 2.0]
    with pytest.raises(RecipeError, match="no module 'mine'"):
        Rewards(configure({"own": {"weight": 1, "python": "mine:score"}}))


@pytest.mark.parametrize(
    ("code", "function", "message"),
    [
        ("def other(completion): return 1", "score", "has no 'score'; its functions: other"),
        ("1 / 0", "score", "importing it failed: ZeroDivisionError"),
        ("import nowhere_to_be_found", "score", "No module named 'nowhere_to_be_found'"),
        ("async def score(completion): return 1", "score", "async"),
        ("def score(completion, /): return 1", "score", "passable by name"),
        ("score = 3", "score", "not a function"),
    ],
)
def test_a_function_that_cannot_be_used_is_one_clear_error(own, code, function, message):
    with pytest.raises(RecipeError, match=message) as caught:
        Rewards(own(code, function))
    assert str(caught.value).startswith("reward 'score' (mine:score): ")


def test_a_module_that_is_nowhere(tmp_path):
    configs = located(configure({"own": {"weight": 1, "python": "nowhere.at_all:f"}}), tmp_path)
    with pytest.raises(RecipeError, match=rf"{tmp_path} has no such file.*no module 'nowhere.at_"):
        Rewards(configs)
