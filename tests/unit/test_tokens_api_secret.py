"""API secrets."""

import pytest

from stagedoor.tokens.api_secret import PREFIX, checksum, is_api_secret, new_api_secret


def test_a_new_secret_has_the_form() -> None:
    """Prefix, 43 characters, 6 of checksum; no two are equal."""
    secrets = [new_api_secret().reveal() for _ in range(100)]
    assert len(set(secrets)) == 100
    assert all(is_api_secret(secret) and len(secret) == 53 and secret.startswith("sds_") for secret in secrets)


def test_the_checksum_is_crc32_as_base64url() -> None:
    """CRC-32 of `123456789` is cbf43926 in every table."""
    assert checksum("123456789") == "y_Q5Jg"


def test_any_changed_character_is_noticed() -> None:
    """One wrong character anywhere, and it is no API secret."""
    secret = new_api_secret().reveal()
    for place in range(len(secret)):
        other = "A" if secret[place] != "A" else "B"
        assert not is_api_secret(secret[:place] + other + secret[place + 1 :])


@pytest.mark.parametrize("text", ["", "sds_", PREFIX + "A" * 49, "x" * 53, "sds_" * 2500, "sds_\n"])
def test_other_texts_are_no_secrets(text: str) -> None:
    """Also those of the right length and prefix."""
    assert not is_api_secret(text)


def test_cut_and_padded_secrets_are_none() -> None:
    """The length is exact."""
    secret = new_api_secret().reveal()
    assert not any(is_api_secret(text) for text in (secret[:-1], secret + "A", secret + "\n", " " + secret))


@pytest.mark.parametrize("body", ["\u00e9" * 43, " " * 43, "\n" * 43])
def test_a_body_outside_base64url_is_no_secret(body: str) -> None:
    """The form is base64url, whatever the checksum says."""
    assert not is_api_secret(PREFIX + body + checksum(body))


def test_a_question_about_form_never_raises() -> None:
    """Any text is a secret or not one."""
    assert not is_api_secret(PREFIX + "\ud800" * 49)
