"""Every reward on answers worked out by hand, and what happens where one fails."""

import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from align.errors import AdapterError, DataError, RecipeError
from align.recipe.rewards import configure, located
from align.rewards import Judge, RewardFailure, Rewards, columns_of, mathematics, reward_functions
from align.rewards.base import RewardConfig
from align.rewards.builtin import BUILTIN

ASK = [{"role": "user", "content": "What is 3 + 4?"}]


def parts(raw, texts, columns=None, **more):
    rewards = Rewards(configure(raw), **more)
    return rewards.parts([ASK] * len(texts), texts, columns or {}), rewards


def value(raw, text, **columns):
    """The one reward of one text."""
    found, rewards = parts(raw, [text], {name: [one] for name, one in columns.items()})
    assert not rewards.failures
    return next(iter(found.values()))[0]


@pytest.fixture
def own(tmp_path):
    """Makes {name: {python: module:name}} of a module's text, as a recipe in its folder would."""

    def make(code: str, function: str, module: str = "mine", weight: float = 1.0):
        (tmp_path / f"{module}.py").write_text(code)
        raw = {function: {"weight": weight, "python": f"{module}:{function}"}}
        return located(configure(raw), tmp_path)

    return make


@pytest.mark.parametrize(
    ("raw", "text", "expected"),
    [
        ({"brevity": 1}, "x" * 50, 0.75),
        ({"brevity": 1}, "x" * 201, 0.0),
        ({"format": {"weight": 1, "pattern": "^<think>.*</think>"}}, "<think>a\nb</think> 7", 1.0),
        ({"format": {"weight": 1, "pattern": "^<think>.*</think>$"}}, "<think>a</think> 7", 0.0),
        ({"format": {"weight": 1, "pattern": "^b"}}, "a\nb", 0.0),
        ({"format": {"weight": 1, "pattern": r"\d"}}, "it is 7.", 1.0),
        ({"length": 1}, "x" * 200, 1.0),
        ({"length": {"weight": 1, "target": 10}}, "x" * 15, 0.5),
        ({"length": {"weight": 1, "target": 10}}, "x" * 20, 0.0),
        ({"length": {"weight": 1, "target": 10}}, "x" * 99, 0.0),
        ({"repetition": 1}, "one two three four", 1.0),
        ({"repetition": {"weight": 1, "ngram": 1}}, "a b a b", 0.5),
        ({"repetition": {"weight": 1, "ngram": 2}}, "a b a b a", 0.5),
        ({"repetition": 1}, "a b", 1.0),
    ],
)
def test_rewards_of_the_text_alone(raw, text, expected):
    assert value(raw, text) == pytest.approx(expected)


def test_correctness_compares_last_numbers():
    assert value({"correctness": 1}, "3 + 4 = 7.0", answer="7") == 1.0
    assert value({"correctness": 1}, "7, not 8", answer="7") == 0.0


@pytest.mark.parametrize(
    ("answer", "expression"),
    [
        (r"\frac{1}{2}", True),
        ("x^2+1", True),
        ("3/4", True),
        ("sqrt(2)", True),
        ("x - 1", True),
        ("-1,234.5", False),
        ("$5", False),
        ("7 apples", False),
        ("He pays 3/4 of it: 12", False),
        ("", False),
    ],
)
def test_which_answers_are_expressions(answer, expression):
    assert mathematics.is_expression(answer) is expression


def test_correctness_without_math_verify(monkeypatch):
    monkeypatch.setattr(mathematics, "installed", lambda: False)
    assert value({"correctness": 1}, "x^2+1", answer="x^2+1") == 1.0
    for name, raw in {
        "correctness": {"weight": 1, "verify": "math"},
        "accuracy_reward": 1,
        "get_cosine_scaled_reward": {"weight": 1, "max_len": 9},
    }.items():
        with pytest.raises(RecipeError, match=rf"'{name}'.*pip install 'alignery\[math\]'"):
            Rewards(configure({name: raw}))


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("so it is $1+x^2$.", "x^2+1", 1.0),
        ("so it is $x^2-1$.", "x^2+1", 0.0),
        ("That makes 0.5", r"\frac{1}{2}", 1.0),
        ("That makes 2", r"\frac{1}{2}", 0.0),
        ("72", "72", 1.0),
        (r"\boxed{\frac{144}{2}}", "72", 1.0),
    ],
)
def test_correctness_reads_mathematics(text, answer, expected):
    pytest.importorskip("math_verify")
    raw = {"correctness": {"weight": 1, "verify": "math"}}
    assert value(raw, text, answer=answer) == expected
    if mathematics.is_expression(answer):
        assert value({"correctness": 1}, text, answer=answer) == expected


def test_an_answer_that_is_no_mathematics_fails_its_sample_alone():
    pytest.importorskip("math_verify")
    raw = {"correctness": {"weight": 1, "verify": "math"}}
    found, rewards = parts(raw, ["7", "7"], {"answer": ["", "7"]})
    assert math.isnan(found["correctness"][0]) and found["correctness"][1] == 1.0
    assert "'' cannot be read as mathematics" in rewards.failures[0].error


IDS = [[1, 2, 1, 2, 1, 2], [1, 2, 3], [1] * 9]
TEXTS = ["<think>a</think> b", "no", "<think>\n</think>"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("think_format_reward", {}),
        ("get_repetition_penalty_reward", {"ngram_size": 2}),
        ("get_soft_overlong_punishment", {"max_completion_len": 8, "soft_punish_cache": 4}),
    ],
)
def test_trls_own_are_trls(name, options):
    from trl import rewards as trl

    function = getattr(trl, name)
    function = function(**options) if options else function
    completions = [[{"role": "assistant", "content": text}] for text in TEXTS]
    expected = function(completions=completions, completion_ids=IDS)
    assert len(set(expected)) > 1
    found, _ = parts({name: {"weight": 1, **options}}, TEXTS, {"completion_ids": IDS})
    assert found[name] == expected


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("accuracy_reward", {}),
        ("reasoning_accuracy_reward", {"reasoning_delimiters": ["</thought>"]}),
        ("get_cosine_scaled_reward", {"max_len": 10}),
    ],
)
def test_trls_mathematical_ones_take_the_answer_as_solution(name, options):
    pytest.importorskip("math_verify")
    from trl import rewards as trl

    texts = [r"x</thought> \boxed{\frac{1}{2}}", r"y</thought> $\frac{1}{3}$", "</thought> no"]
    answers = [r"\frac{2}{4}", r"\frac{1}{2}", ""]
    function, more = getattr(trl, name), options
    if name.startswith("get_"):
        function, more = function(**options), {}
    completions = [[{"role": "assistant", "content": text}] for text in texts]
    expected = function(completions=completions, solution=answers, completion_ids=IDS, **more)
    assert expected[0] != expected[1] and expected[2] is None
    columns = {"answer": answers, "completion_ids": IDS}
    found, rewards = parts({name: {"weight": 1, **options}}, texts, columns)
    assert found[name][:2] == expected[:2] and math.isnan(found[name][2])
    assert "returned None" in rewards.failures[0].error


def test_every_name_of_trl_rewards_can_be_used():
    from trl import rewards as trl

    functions = {name for name in trl.__all__ if not name.endswith("_rewards")}  # modules
    assert len(functions) >= 6 and functions <= set(BUILTIN)


def test_tokens_are_counted_outside_of_training_too():
    raw = {
        "get_soft_overlong_punishment": {
            "weight": 1,
            "max_completion_len": 4,
            "soft_punish_cache": 2,
        }
    }
    found, _ = parts(raw, ["abc", "abcdefgh"], tokenize=list)
    assert found["get_soft_overlong_punishment"] == [-0.5, -1.0]
    with pytest.raises(DataError, match="needs the column completion_ids"):
        parts(raw, ["abc"])


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


def test_a_missing_column_is_the_runs_error_not_a_samples(own):
    with pytest.raises(DataError, match="'correctness' needs the column answer; the rows have: id"):
        parts({"correctness": 1}, ["7"], {"id": [1]})
    rewards = Rewards(own("def score(completion, gold, bonus=0): return 1", "score"))
    with pytest.raises(DataError, match="'score' needs the column gold; the rows have: none"):
        rewards.parts([ASK], ["7"], {})


MOODY = """
def moody(completion):
    if completion == "raise":
        raise KeyError("lost")
    return {"nan": float("nan"), "inf": float("inf"), "none": None, "text": "1", "list": [1]}.get(
        completion, 0.5
    )
"""
BAD = ["raise", "nan", "inf", "none", "text", "list"]


def test_a_reward_that_fails_fails_that_sample_with_its_text(own):
    configs = {**own(MOODY, "moody", weight=2.0), **configure({"brevity": 1.0})}
    rewards = Rewards(configs)
    found = rewards.parts([ASK] * 7, [*BAD, "fine"], {})
    assert [math.isnan(one) for one in found["moody"]] == [True] * 6 + [False]
    total = rewards.total(found)
    assert total[0] == pytest.approx(1 - 5 / 200) and total[6] == pytest.approx(1.0 + 0.98)
    assert rewards.failed == 6
    assert rewards.failures[0] == RewardFailure(
        "moody", "What is 3 + 4?", "raise", "KeyError: 'lost'"
    )
    assert "returned None, which is no finite number" in rewards.failures[3].error


def test_failures_are_kept_for_each_reward_and_all_are_counted(own):
    configs = {**own(MOODY, "moody"), **configure({"correctness": 1.0})}
    rewards = Rewards(configs)
    rewards.parts([ASK] * 500, ["raise"] * 500, {"answer": [None] * 500})
    assert rewards.failures_by_reward == {"moody": 500, "correctness": 500}
    assert 2 <= len({one.reward for one in rewards.failures}) <= len(rewards.failures) <= 100
    assert "no 'answer'" in rewards.failures[-1].error


def test_an_interrupt_is_no_failure(own):
    rewards = Rewards(own("def stop(completion): raise KeyboardInterrupt", "stop"))
    with pytest.raises(KeyboardInterrupt):
        rewards.parts([ASK], ["x"], {})


def test_what_a_judges_engine_raises_is_not_a_samples_failure():
    def score(conversations, adapter):
        if conversations[0][-1]["content"] == "broken":
            raise AdapterError("no reward head")
        return [float(len(one[-1]["content"])) for one in conversations]

    judge = Judge(SimpleNamespace(score=score), "rm", mean=4.0, std=1.0)
    found, _ = parts({"reward_model": 0.3}, ["four", "longer"], judge=judge)
    assert found["reward_model"][0] == 0.5 < found["reward_model"][1]
    with pytest.raises(AdapterError):
        parts({"reward_model": 0.3}, ["broken"], judge=judge)


def test_for_trl_a_failed_part_is_none_and_its_share_is_logged(own):
    rewards = Rewards({**own(MOODY, "moody", weight=-1.0), **configure({"correctness": 1.0})})
    functions = {name: (weight, function) for name, weight, function in reward_functions(rewards)}
    weight, moody = functions["moody"]
    logged = {}
    call = {
        "prompts": [ASK] * 2,
        "completions": [[{"role": "assistant", "content": text}] for text in ("raise", "7")],
        "completion_ids": [[1], [2]],
        "answer": ["7", "7"],
        "trainer_state": object(),
        "log_extra": print,
        "log_metric": logged.__setitem__,
    }
    assert (weight, moody.__name__, moody(**call)) == (-1.0, "moody", [None, 0.5])
    assert functions["correctness"][1](**call) == [0.0, 1.0]
    assert logged == {"rewards/moody/failed": 0.5, "rewards/correctness/failed": 0.0}


def test_columns_of_rows_that_differ():
    rows = [{"prompt": ASK, "answer": "7"}, {"prompt": ASK, "id": 3}]
    assert columns_of(rows) == {"answer": ["7", None], "id": [None, 3]}


def test_configs_travel_as_json_and_keep_their_options():
    raw = {
        "correctness": 1,
        "format": {"weight": -0.5, "pattern": "a"},
        "repetition": {"weight": 1},
    }
    configs = configure(raw)
    assert (
        configure({name: one.model_dump(mode="json") for name, one in configs.items()}) == configs
    )
    assert configs["format"].weight == -0.5 and configs["repetition"].ngram == 3
    assert isinstance(configs["correctness"], RewardConfig)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"corectness": 1}, "unknown reward 'corectness'; did you mean 'correctness'.*brevity"),
        ({"zzz": 1}, "unknown reward 'zzz'; allowed: .*python: 'module:function'"),
        ({"format": 0.5}, r"format needs 'pattern': write format: \{weight: …, pattern: …\}"),
        ({"format": {"weight": 1, "pattern": "a(b"}}, "unterminated subpattern at position 1"),
        ({"format": {"weight": 1, "pattern": "a", "patern": 1}}, "did you mean 'pattern'"),
        ({"brevity": {"weight": 1, "x": 1}}, "brevity has no option 'x'; allowed: weight"),
        ({"brevity": float("nan")}, "brevity.weight: .*finite"),
        ({"brevity": float("inf")}, "brevity.weight: .*finite"),
        ({"brevity": "much"}, "brevity.weight: .*got 'much'"),
        ({"length": {"weight": 1, "target": 0}}, "length.target: .*got 0"),
        ({"own": {"weight": 1, "python": "nofunction"}}, "own.python: 'module:function' is wanted"),
        ({"correctness": {"weight": 1, "python": "m:f"}}, "another name"),
        (["correctness"], "names with weights"),
    ],
)
def test_wrong_rewards_name_what_is_allowed(raw, message):
    with pytest.raises(ValueError, match=message) as caught:
        configure(raw)
    assert "\n" not in str(caught.value)


def test_reasoning_gym_scores_by_the_rows_entry(monkeypatch):
    module = SimpleNamespace(score=lambda text, entry: 0.5 * (text == entry["answer"]))
    monkeypatch.setitem(sys.modules, "align.reasoning_tasks", module)
    assert value({"reasoning_gym": 1}, "7", entry={"answer": "7"}) == 0.5
    with pytest.raises(DataError, match="'reasoning_gym' needs the column entry"):
        parts({"reasoning_gym": 1}, ["7"], {"answer": ["7"]})
