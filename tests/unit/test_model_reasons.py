"""Texts of the reasons."""

import pytest

from stagedoor.model.decision import ALLOWING, Reason
from stagedoor.model.reasons import EXPLANATIONS


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_its_texts(reason: Reason) -> None:
    """One for the public and one for the operator, both sentences."""
    explanation = EXPLANATIONS[reason]
    assert explanation.public.endswith(".")
    assert explanation.hint.endswith(".")


def test_there_are_no_texts_without_a_reason() -> None:
    """The two lists are the same."""
    assert set(EXPLANATIONS) == set(Reason)


def test_the_public_text_does_not_tell_whether_a_token_exists() -> None:
    """Unknown, revoked, disabled and malformed tokens read the same."""
    texts = {
        EXPLANATIONS[reason].public
        for reason in (Reason.TOKEN_UNKNOWN, Reason.TOKEN_REVOKED, Reason.TOKEN_DISABLED, Reason.TOKEN_MALFORMED)
    }
    assert len(texts) == 1


def test_the_public_text_does_not_tell_what_a_token_grants() -> None:
    """A good token on the wrong stream, for the wrong action or account reads like one that does not exist."""
    wrong = (Reason.ACCOUNT_MISMATCH, Reason.ACTION_NOT_GRANTED, Reason.STREAM_NOT_GRANTED, Reason.CAVEAT_NOT_JUDGED)
    assert {EXPLANATIONS[reason].public for reason in wrong} == {EXPLANATIONS[Reason.TOKEN_UNKNOWN].public}


def test_the_public_text_does_not_tell_where_a_token_is_good() -> None:
    """Not from here, whether the address is wrong or not known."""
    assert EXPLANATIONS[Reason.ADDRESS_UNKNOWN].public == EXPLANATIONS[Reason.ADDRESS_NOT_ALLOWED].public


def test_allowing_reasons_read_the_same() -> None:
    """The public does not learn why it was let in."""
    assert {EXPLANATIONS[reason].public for reason in ALLOWING} == {"Allowed."}


def test_no_one_can_change_the_texts() -> None:
    """The table is read-only."""
    with pytest.raises(TypeError):
        EXPLANATIONS[Reason.OK] = EXPLANATIONS[Reason.TOKEN_MISSING]  # type: ignore[index]
