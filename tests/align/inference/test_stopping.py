"""Where a completion ends, and what of its text and tokens is left."""

from align.inference.sampling_state import Picked
from align.inference.stopping import Written
from align.inference.token_bytes import DecodedBytes
from align.inference.types import GenerationRequest, TokenLogprobs


def letters(tokens):
    return "".join(map(chr, tokens))


def written(request, text, streamed=True, end=1):
    """Write the text's letters, then the end of turn; the completion and its pieces."""
    one = Written(request, DecodedBytes(letters), frozenset({end}), streamed)
    pieces = []
    for token in [*map(ord, text), end]:
        fresh, done = one.take(Picked(token, None))
        pieces.append(fresh)
        if done:
            return one.completion, pieces
        assert one.completion.text == "".join(pieces) or not streamed
    raise AssertionError("it never ended")


def test_a_completion_ends_at_the_end_of_turn():
    done, pieces = written(GenerationRequest((1,)), "hello")
    assert (done.text, done.finish_reason, done.ended) == ("hello", "stop", 1)
    assert letters(done.token_ids) == "hello" and "".join(pieces) == "hello"


def test_a_completion_ends_after_its_longest():
    done, _ = written(GenerationRequest((1,), max_new_tokens=3), "hello")
    assert (done.text, done.finish_reason, done.ended) == ("hel", "length", None)


def test_the_end_of_turn_can_be_any_other_token():
    request = GenerationRequest((1,), ignore_eos=True, stop_ids=(ord("o"),))
    one = Written(request, DecodedBytes(letters), frozenset({ord("l")}))
    assert [one.take(Picked(ord(char), None))[1] for char in "hello"] == [*[False] * 4, True]
    assert (one.completion.text, one.completion.ended) == ("hell", ord("o"))


def test_a_stop_string_keeps_the_tokens_that_were_written():
    request = GenerationRequest((1,), stop=("lo",), max_new_tokens=5)
    for streamed in (True, False):
        done, pieces = written(request, "hello", streamed)
        assert (done.text, done.finish_reason, done.ended) == ("hel", "stop", None)
        assert letters(done.token_ids) == "hello" and "".join(pieces) == "hel"


def test_held_text_comes_with_the_end():
    done, pieces = written(GenerationRequest((1,), stop=("low",)), "hello")
    assert done.text == "".join(pieces) == "hello"


def test_a_stop_string_before_the_least_number_of_tokens_is_text():
    request = GenerationRequest((1,), stop=("ab", "xbc"), min_new_tokens=5)
    done, pieces = written(request, "abxbcabz")
    assert done.text == "".join(pieces) == "ab"
    assert letters(done.token_ids) == "abxbc"


def test_text_that_nobody_reads_comes_at_the_end():
    done, pieces = written(GenerationRequest((1,)), "hello", streamed=False)
    assert pieces == ["", "", "", "", "", "hello"] and done.text == "hello"


def test_cancelling_keeps_what_was_written():
    one = Written(GenerationRequest((1,), stop=("lx",)), DecodedBytes(letters), frozenset())
    assert "".join(one.take(Picked(ord(char), None))[0] for char in "hel") == "he"
    assert one.cancel() == "l"
    assert (one.completion.text, one.completion.finish_reason) == ("hel", "cancelled")


def test_logprobs_count_the_token_that_ended_it():
    one = Written(GenerationRequest((1,), logprobs=0), DecodedBytes(letters), frozenset({1}))
    for token, logprob in ((65, -0.5), (1, -0.25)):
        one.take(Picked(token, TokenLogprobs(logprob)))
    assert [at.logprob for at in one.completion.logprobs] == [-0.5, -0.25]
    assert one.completion.token_ids == [65]
