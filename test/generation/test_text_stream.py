"""Text comes in whole code points, with the tokenizer's own spaces, and without stop strings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from vila_ros.model.text_stream import Detokenizer, StopStrings


def byte_level():
    """As Llama 3 and Qwen: every byte is a token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def sentencepiece_like():
    """As Llama 2: ▁ is a space, the first of which is dropped, and unknown letters are bytes."""
    pieces = [*(f"<0x{i:02X}>" for i in range(256)), *"▁abcdefgh", "▁a", "▁b", "▁yes", "▁no"]
    tokenizer = Tokenizer(
        models.BPE({piece: i for i, piece in enumerate(pieces)}, [], byte_fallback=True)
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


TOKENIZERS = {"byte level": byte_level(), "sentencepiece": sentencepiece_like()}


def stream(tokenizer, tokens):
    detokenizer = Detokenizer(tokenizer.decode)
    return [*(detokenizer.add(token) for token in tokens), detokenizer.finish()]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_character_of_several_tokens_comes_whole(name):
    tokenizer = TOKENIZERS[name]
    tokens = tokenizer.encode("a€b") if name == "byte level" else [*b"a", *"€".encode(), *b"b"]
    assert stream(tokenizer, tokens) == ["a", "", "", "€", "b", ""]


def test_spaces_are_those_of_the_whole_text():
    tokenizer = TOKENIZERS["sentencepiece"]
    tokens = tokenizer.convert_tokens_to_ids(["▁yes", "▁", "▁no", "▁a", "b"])
    assert stream(tokenizer, tokens) == ["yes", " ", " no", " a", "b", ""]


@given(st.text(max_size=20))
def test_pieces_make_up_the_text(text):
    tokenizer = TOKENIZERS["byte level"]
    pieces = stream(tokenizer, tokenizer.encode(text))
    assert "".join(pieces) == text


def test_an_incomplete_character_at_the_end_is_not_lost():
    tokenizer = TOKENIZERS["byte level"]
    tokens = tokenizer.encode("a€")[:-1]
    assert "".join(stream(tokenizer, tokens)) == tokenizer.decode(tokens) == "a\ufffd"


@pytest.mark.parametrize(
    ("pieces", "given_out"),
    [
        (["on", "e EN", "D two"], ["on", "e ", ""]),
        (["END"], [""]),
        (["E", "N", "x"], ["", "", "ENx"]),
        (["EE", "N", "D"], ["E", "", ""]),
        (["a END", " END"], ["a ", ""]),
    ],
)
def test_no_part_of_a_stop_string_comes_out(pieces, given_out):
    stops = StopStrings(["END"])
    seen = []
    for piece in pieces:
        seen.append("" if stops.stopped else stops.add(piece))
    assert seen == given_out
    assert stops.stopped == ("END" in "".join(pieces))


def test_the_first_of_several_stop_strings_ends():
    stops = StopStrings(["world", "o w"])
    assert stops.add("hello world") == "hell"
    assert stops.stopped


def test_what_was_held_back_comes_at_the_end():
    stops = StopStrings(["END"])
    assert stops.add("the E") == "the "
    assert stops.finish() == "E"


@given(
    st.text("abc", max_size=30),
    st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3),
    st.integers(1, 4),
)
def test_streaming_stops_where_the_whole_text_would(text, words, step):
    stops = StopStrings(words)
    out = ""
    for at in range(0, len(text), step):
        out += stops.add(text[at : at + step])
        assert text.startswith(out)
        if stops.stopped:
            break
    else:
        out += stops.finish()
    assert not any(word in out for word in words)
    assert stops.stopped == any(word in text for word in words)
