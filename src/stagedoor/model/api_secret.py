"""API secrets as they are kept."""

from dataclasses import dataclass

from stagedoor.model.ids import AccountId


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSecret:
    """A secret of an account's. Its value is not kept; `hint` is how it begins. `added_on`: when its value was made."""

    id: int
    account: AccountId
    label: str
    hint: str
    added_on: int
