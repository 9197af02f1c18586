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


def test_only_four_reasons_allow() -> None:
    """A new allowing reason is a decision of its own, made here too."""
    assert {Reason.OK, Reason.OK_OPEN_STREAM, Reason.OK_ENGINE, Reason.OK_SHADOW} == ALLOWING


def test_the_codes_are_api() -> None:
    """Codes are added, never renamed: those of every version so far are all there."""
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
        "ok_shadow",
        "token_outside_hours",
        "token_used",
        "address_not_trusted",
        "address_not_bound",
        "origin_missing",
        "origin_not_allowed",
        "country_unknown",
        "country_not_allowed",
        "protocol_not_allowed",
        "user_agent_not_allowed",
        "referrer_not_allowed",
        "stream_not_live",
        "too_many_sessions",
        "session_too_long",
        "watch_time_spent",
        "bytes_spent",
        "starts_spent",
        "usage_unknown",
    }
