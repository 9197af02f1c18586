"""Which application shows itself, with its key and secret (RFC 6749 section 2.3.1)."""

import base64
import binascii
from typing import Final, Protocol
from urllib.parse import unquote_plus

from stagedoor.edge.operation import Call
from stagedoor.model.application import Application
from stagedoor.model.errors import InvalidClient, InvalidInput
from stagedoor.service.applications import Applications

_HOW: Final = "show the application's key and secret by Authorization: Basic"


class ClientForm(Protocol):
    """A form in which an application may show itself."""

    @property
    def client_id(self) -> str:
        """Its key."""

    @property
    def client_secret(self) -> str:
        """Its secret."""


async def client_of(call: Call, applications: Applications) -> Application:
    """Return the application that shows itself by `Authorization: Basic`, or in the form.

    Raises: InvalidInput when it does both; InvalidClient; TooMany.
    """
    form: ClientForm = call.body
    header = call.header(b"authorization")
    if header is None:
        key, secret = form.client_id, form.client_secret
        if not secret:
            # Nothing was guessed, so nobody has to wait.
            raise InvalidClient(_HOW)
    else:
        if form.client_secret:
            raise InvalidInput(
                "show the secret by Authorization: Basic or in the form, not both", field="client_secret"
            )
        key, secret = _basic(header)
        if form.client_id not in ("", key):
            raise InvalidInput("client_id is not the key in Authorization: Basic", field="client_id")
    return await applications.authenticate(key, secret, call.client_ip)


def _basic(header: str) -> tuple[str, str]:
    """Return what a header shows; both parts come as they do in forms.

    Raises: InvalidClient.
    """
    scheme, _, credentials = header.partition(" ")
    try:
        text = base64.b64decode(credentials.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    if scheme.lower() != "basic" or ":" not in text:
        raise InvalidClient(_HOW)
    key, _, secret = text.partition(":")
    return unquote_plus(key), unquote_plus(secret)
