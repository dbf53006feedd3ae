"""Token log-probabilities in the formats of OpenAI's API."""

from __future__ import annotations

from serve.batching.jobs import TokenLogprob
from serve.http.logprobs import chat_logprobs, text_logprobs

NEVER = float("-inf")
TOKENS = (
    TokenLogprob(b"Hi", -0.5, 0, ((b"Hi", -0.5), (b"Ho", -1.5))),
    TokenLogprob(b"\xc3", NEVER, 2, ((b"!", NEVER),)),
    TokenLogprob(b"\xa9", -2.0, 2),
)


def test_what_was_not_asked_for_is_null():
    assert chat_logprobs(None) is None and text_logprobs(None) is None
    assert chat_logprobs(()) == {"content": [], "refusal": None}


def test_a_chat_has_an_entry_for_each_token():
    assert chat_logprobs(TOKENS[:1]) == {
        "content": [
            {
                "token": "Hi",
                "logprob": -0.5,
                "bytes": [72, 105],
                "top_logprobs": [
                    {"token": "Hi", "logprob": -0.5, "bytes": [72, 105]},
                    {"token": "Ho", "logprob": -1.5, "bytes": [72, 111]},
                ],
            }
        ],
        "refusal": None,
    }


def test_a_text_has_a_list_for_each_property_and_what_was_taken_among_the_likeliest():
    assert text_logprobs(TOKENS) == {
        "tokens": ["Hi", "\\xc3", "\\xa9"],
        "token_logprobs": [-0.5, -9999.0, -2.0],
        "top_logprobs": [
            {"Hi": -0.5, "Ho": -1.5},
            {"!": -9999.0, "\\xc3": -9999.0},
            {"\\xa9": -2.0},
        ],
        "text_offset": [0, 2, 2],
    }


def test_a_chat_shows_a_part_of_a_character_by_a_replacement_character_and_its_bytes():
    answer = chat_logprobs(TOKENS[1:2])
    assert answer is not None
    (entry,) = answer["content"]
    assert entry["token"] == "\ufffd" and entry["bytes"] == [0xC3]


def test_of_tokens_with_the_same_text_the_likeliest_counts_and_the_taken_has_its_own():
    top = ((b"Hi", -0.5), (b"Ho", -1.0), (b"Ho", -1.5), (b"Hi", -2.0))
    answer = text_logprobs((TokenLogprob(b"Hi", -2.0, 0, top),))
    assert answer is not None
    assert answer["top_logprobs"] == [{"Hi": -2.0, "Ho": -1.0}]
