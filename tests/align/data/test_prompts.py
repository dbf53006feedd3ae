"""Which prompts are the same problem, and how one is shown."""

from align.data.prompts import prompt_key, shown


def test_whitespace_and_form_make_no_other_prompt() -> None:
    key = prompt_key("What is 1 + 1?")
    assert prompt_key("  What is\n1 +\t1? ") == key
    assert prompt_key([{"role": "user", "content": "What is 1 + 1?"}]) == key
    assert prompt_key([{"content": "What is 1 + 1?", "role": "user"}]) == key


def test_words_roles_and_turns_make_another_prompt() -> None:
    turn = {"role": "user", "content": "a"}
    keys = {
        prompt_key([turn]),
        prompt_key("A"),
        prompt_key([{"role": "system", "content": "a"}]),
        prompt_key([turn, turn]),
    }
    assert len(keys) == 4


def test_the_last_turn_is_shown_and_cut_at_eighty_characters() -> None:
    system = {"role": "system", "content": "Be brief."}
    assert shown(prompt_key([system, {"role": "user", "content": "Say  it"}])) == "'Say it'"
    assert shown(prompt_key("x" * 80)) == repr("x" * 80)
    assert shown(prompt_key("x" * 81)) == repr("x" * 77 + "...")
