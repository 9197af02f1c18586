"""The exceptions."""

import pytest

from stagedoor.model import errors
from stagedoor.model.errors import StagedoorError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, StagedoorError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_keeps_its_message_and_field(kind: type[StagedoorError]) -> None:
    """Both are there for whoever maps it."""
    error = kind("write less", field="label")
    assert (str(error), error.message, error.field) == ("write less", "write less", "label")


def test_codes_are_distinct() -> None:
    """One code, one kind."""
    assert len({kind.code for kind in KINDS}) == len(KINDS) == 13
