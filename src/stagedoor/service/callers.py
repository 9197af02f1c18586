"""Who calls the API: with an API secret of the account's, or with a token of one of its applications."""

from stagedoor.model.application import Caller
from stagedoor.service.api_secrets import ApiSecrets
from stagedoor.service.api_tokens import ApiTokens
from stagedoor.tokens.api_secret import PREFIX


class Callers:
    """What is shown to the API."""

    def __init__(self, *, api_secrets: ApiSecrets, api_tokens: ApiTokens) -> None:
        """Take both kinds."""
        self._api_secrets = api_secrets
        self._api_tokens = api_tokens

    async def authenticate(self, credential: str, client_ip: str) -> Caller:
        """Return who shows a credential, from an address.

        Raises: NotPermitted when it is none of ours, whatever is wrong with it, and later each time; TooMany.
        """
        if credential.startswith(PREFIX) or credential.count(".") != 2:
            return await self._api_secrets.authenticate(credential, client_ip)
        return await self._api_tokens.authenticate(credential, client_ip)
