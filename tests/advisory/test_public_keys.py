"""Attacks with what is sent as a public key."""

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from stagedoor.model.errors import InvalidInput
from stagedoor.tokens.public_keys import parse_public_key

_OF_NO_KIND = """-----BEGIN PUBLIC KEY-----
MCowBQYDK1VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
"""


def test_a_key_of_a_kind_that_nobody_knows_is_refused_in_words() -> None:
    """The library has an error of its own for it, which got out of the parser, and out of the API as a fault of ours."""
    with pytest.raises(UnsupportedAlgorithm):
        load_pem_public_key(_OF_NO_KIND.encode())
    with pytest.raises(InvalidInput) as refusal:
        parse_public_key(_OF_NO_KIND, "tk_1")
    assert refusal.value.field == "publicKey"
