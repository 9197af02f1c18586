"""Opaque tokens."""

import base64

import pytest

from stagedoor.tokens.keyring import base64url
from stagedoor.tokens.opaque import TOKEN_BYTES, new_token, parse_opaque

VALUE = bytes(range(TOKEN_BYTES))
HEX = VALUE.hex()
BASE64 = base64url(VALUE)


def test_hexadecimal_and_base64url_give_the_same_bytes() -> None:
    """One token, two texts."""
    assert (len(HEX), len(BASE64)) == (64, 43)
    assert parse_opaque(HEX) == parse_opaque(BASE64) == VALUE


def test_a_new_token_is_32_fresh_bytes() -> None:
    """It reads, in the form promised, and no two are equal."""
    tokens = [new_token().reveal() for _ in range(100)]
    assert len(set(tokens)) == 100
    assert all(token == token.lower() and len(token) == 64 for token in tokens)
    assert all(len(parse_opaque(token) or b"") == TOKEN_BYTES for token in tokens)


@pytest.mark.parametrize("length", [0, 1, 42, 43, 62, 63, 65, 66, 128])
def test_a_cut_off_or_longer_hexadecimal_text_is_no_token(length: int) -> None:
    """Also at 43 characters, where the digits happen to be base64url: that form is canonical or refused."""
    text = (HEX * 2)[:length]
    if length == 43:
        text = text[:42] + "f"
    assert parse_opaque(text) is None


@pytest.mark.parametrize("length", [*range(43), 44, 45, 64])
def test_a_cut_off_or_longer_base64_text_is_no_token(length: int) -> None:
    """Every length but one is refused."""
    assert parse_opaque((BASE64 * 2)[:length]) is None


@pytest.mark.parametrize(
    "text",
    [
        HEX[:62] + "  ",
        " " + HEX[:62] + " ",
        HEX[:30] + "    " + HEX[30:60],
        HEX[:63] + "\n",
        HEX[:63] + "g",
        HEX[:62] + "\u0661\u0662",
        HEX[:63] + "\x00",
        "0x" + HEX[:62],
        "\ud800" * 64,
        BASE64[:42] + " ",
        BASE64[:42] + "=",
        BASE64[:42] + "\n",
        "+" + BASE64[1:],
        "/" + BASE64[1:],
        "\uff21" * 43,
        "\ud800" * 43,
        HEX + " ",
        " " + HEX,
        HEX + "\n",
        BASE64 + "=",
        BASE64 + "\n",
        "a" * 10_000,
        "",
    ],
)
def test_other_characters_are_no_token(text: str) -> None:
    """Spaces, line ends, padding, the other base64 alphabet and other scripts' digits are refused."""
    assert parse_opaque(text) is None


def test_base64url_that_is_not_canonical_is_refused() -> None:
    """The two spare bits must be zero: of four texts that decode to the same bytes one is the token."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    same = [BASE64[:42] + last for last in alphabet if base64.urlsafe_b64decode(BASE64[:42] + last + "=") == VALUE]
    assert len(same) == 4
    assert [parse_opaque(text) for text in same].count(VALUE) == 1
    assert [text for text in same if parse_opaque(text) is not None] == [BASE64]
