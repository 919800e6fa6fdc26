"""The bound on input tokens holds, and counting stays affordable."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.tokens import EXACT_LIMIT_CHARS, TOKENIZERS, count_tokens, input_token_bound


@pytest.mark.parametrize("name", sorted(TOKENIZERS))
def test_every_named_tokenizer_ships_and_counts(name: str) -> None:
    assert 2 <= count_tokens("The mill runs at night.", name) <= 10


@pytest.mark.parametrize("name", sorted(TOKENIZERS))
@settings(max_examples=40, deadline=None)
@given(st.text(max_size=300))
def test_no_text_has_more_tokens_than_bytes(name: str, text: str) -> None:
    assert count_tokens(text, name) <= len(text.encode())


@settings(deadline=None)
@given(st.lists(st.text(max_size=200), min_size=1, max_size=5), st.booleans())
def test_the_exact_bound_covers_the_texts_and_the_rest_of_the_body(
    texts: list[str], tools: bool
) -> None:
    body = orjson.dumps({"messages": [{"role": "user", "content": text} for text in texts]})
    bound = input_token_bound(len(body), texts, len(texts), "o200k_base", tools=tools)
    exact = sum(count_tokens(text, "o200k_base") for text in texts)
    assert bound >= exact + 16 * len(texts) + 64 + 1024 * tools


def test_without_a_tokenizer_the_bytes_are_the_bound() -> None:
    assert input_token_bound(1234, ["x"], 1, None, tools=False) == 1234
    assert input_token_bound(1234, ["x"], 1, None, tools=True) == 1234 + 1024


def test_what_is_not_a_message_text_counts_by_the_byte() -> None:
    plain = input_token_bound(100, ["hello"], 1, "o200k_base", tools=False)
    with_schema = input_token_bound(5100, ["hello"], 1, "o200k_base", tools=False)
    assert with_schema == plain + 5000


def test_special_tokens_spelled_out_count_as_text() -> None:
    assert count_tokens("<|endoftext|>", "o200k_base") > 1


def test_a_very_long_prompt_is_bounded_by_its_bytes() -> None:
    text = "x" * (EXACT_LIMIT_CHARS + 1)
    assert input_token_bound(len(text) + 50, [text], 1, "o200k_base", tools=False) == len(text) + 50


def test_an_unknown_tokenizer_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        count_tokens("x", "nobody's")
