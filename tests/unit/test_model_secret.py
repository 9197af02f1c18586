"""Secrets."""

from stagedoor.model.secret import Secret


def test_repr_str_and_format_hide_the_value() -> None:
    """No way of printing shows it."""
    secret = Secret("hunter2")
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r}", f"{[secret]}"):
        assert "hunter2" not in shown


def test_reveal_is_the_way_out() -> None:
    """It gives the value as it came."""
    assert Secret("hunter2").reveal() == "hunter2"


def test_a_secret_has_no_dictionary_to_dump() -> None:
    """`vars` and tracebacks with locals find nothing."""
    assert not hasattr(Secret("hunter2"), "__dict__")
