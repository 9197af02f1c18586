"""Decisions."""

import pytest

from stagedoor.model.decision import ALLOWING, Decision, Reason


@pytest.mark.parametrize("reason", list(Reason))
def test_a_decision_has_no_truth_value(reason: Reason) -> None:
    """`if decision:` is an error, for allowing and refusing ones alike."""
    with pytest.raises(TypeError, match="no truth value"):
        bool(Decision(reason, 1))


@pytest.mark.parametrize("reason", list(Reason))
def test_allowed_derives_from_the_reason(reason: Reason) -> None:
    """The codes that begin with `ok` allow, all others refuse."""
    assert Decision(reason, 1).allowed is (reason.value == "ok" or reason.value.startswith("ok_"))


def test_only_three_reasons_allow() -> None:
    """A new allowing reason is a decision of its own, made here too."""
    assert {Reason.OK, Reason.OK_OPEN_STREAM, Reason.OK_ENGINE} == ALLOWING


def test_the_codes_are_api() -> None:
    """Codes are added, never renamed: those of the first version are all there."""
    assert {reason.value for reason in Reason} >= {
        "ok",
        "ok_open_stream",
        "ok_engine",
        "token_missing",
        "token_malformed",
        "token_unknown",
        "token_revoked",
        "token_disabled",
        "token_not_yet_valid",
        "token_expired",
        "account_disabled",
        "account_mismatch",
        "action_not_granted",
        "stream_not_granted",
        "stream_name_invalid",
        "address_not_allowed",
        "address_unknown",
        "caveat_not_judged",
        "action_unknown",
        "request_malformed",
        "engine_unknown",
        "store_unavailable",
    }
