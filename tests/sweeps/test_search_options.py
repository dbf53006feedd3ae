"""Options of a search as words of a command line."""

from sweeps.search_options import SearchOptions


def test_defaults_need_no_words():
    assert SearchOptions().arguments() == []
    assert SearchOptions(cpus_per_trial=1, promote=False, only=[]).arguments() == []


def test_each_value_follows_its_option_and_lists_repeat_it():
    options = SearchOptions(from_="sft", only=["sft", "dpo"], cpus_per_trial=2, grow=True)
    assert options.arguments() == [
        "--from", "sft", "--only", "sft", "--only", "dpo", "--cpus-per-trial", "2", "--grow",
    ]  # fmt: skip


def test_a_price_travels_with_a_submitted_run():
    assert SearchOptions(price=0.35).arguments() == ["--price", "0.35"]
