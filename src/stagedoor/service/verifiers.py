"""Administer verifiers: the media servers and CDNs of an account that check credentials themselves."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from stagedoor.model.access import Protocol
from stagedoor.model.errors import InvalidInput, NotFound
from stagedoor.model.ids import AccountId
from stagedoor.model.secret import Secret
from stagedoor.model.verifier import Verifier, VerifierKind, VerifierSettings
from stagedoor.service.ports import Clock
from stagedoor.service.verifier_ports import VerifierStore
from stagedoor.tokens.keyring import Keyring
from stagedoor.tokens.mint import cat

MOST_VERIFIERS: Final = 100
"""How many verifiers an account may have."""

MAX_NAME: Final = 64
MAX_SECRET: Final = 4096

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KEY_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_QUERY_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FILE: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
_CLAIM: Final = re.compile(r"[\x21-\x7e]{0,256}")
# Security: what stands in a configuration of nginx must not end a string there, or name a variable.
_PLAIN_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{16,256}")
_MAX_URL: Final = 512

SPEAKS: Final[Mapping[VerifierKind, tuple[Protocol, ...]]] = MappingProxyType(
    {
        VerifierKind.MEDIAMTX: (
            Protocol.RTSP,
            Protocol.RTMP,
            Protocol.HLS,
            Protocol.WEBRTC,
            Protocol.SRT,
            Protocol.MOQ,
        ),
        VerifierKind.OVENMEDIAENGINE: (Protocol.WEBRTC, Protocol.RTMP, Protocol.SRT, Protocol.HLS),
        VerifierKind.LIVEKIT: (Protocol.WEBRTC,),
        VerifierKind.JANUS: (Protocol.WEBRTC,),
        VerifierKind.SECURE_LINK: (Protocol.HLS,),
        VerifierKind.CAT: (Protocol.HLS,),
    }
)
"""Over what a credential of a kind lets media through."""

_SCHEMES: Final[Mapping[VerifierKind, Collection[str]]] = MappingProxyType(
    {
        VerifierKind.MEDIAMTX: ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https"),
        VerifierKind.OVENMEDIAENGINE: ("ws", "wss", "http", "https", "rtmp", "srt"),
        VerifierKind.LIVEKIT: ("ws", "wss"),
        VerifierKind.JANUS: (),
        VerifierKind.SECURE_LINK: ("http", "https"),
        VerifierKind.CAT: ("http", "https"),
    }
)
_NEEDS_URL: Final = frozenset({VerifierKind.OVENMEDIAENGINE, VerifierKind.SECURE_LINK, VerifierKind.CAT})
_NEEDS_FILE: Final = frozenset({VerifierKind.SECURE_LINK})

_USES: Final[Mapping[VerifierKind, Collection[str]]] = MappingProxyType(
    {
        VerifierKind.MEDIAMTX: ("url", "protocols", "issuer", "audience"),
        VerifierKind.OVENMEDIAENGINE: ("url", "file", "policy_query", "signature_query", "address_claim"),
        VerifierKind.LIVEKIT: ("url",),
        VerifierKind.JANUS: ("opens",),
        VerifierKind.SECURE_LINK: ("url", "file", "bind_address"),
        VerifierKind.CAT: ("url", "issuer", "audience", "algorithm"),
    }
)
"""The settings that concern a kind; another one that is set is a mistake, and not silently without effect."""


class Verifiers:
    """What owners do with their verifiers. Every call is for one account and sees no other."""

    def __init__(self, *, store: VerifierStore, keyring: Keyring, clock: Clock) -> None:
        """Take the collaborators."""
        self._store = store
        self._keyring = keyring
        self._clock = clock

    async def add(
        self,
        account: AccountId,
        name: str,
        kind: VerifierKind,
        *,
        key_name: str = "",
        secret: Secret | None,
        settings: VerifierSettings,
    ) -> Verifier:
        """Keep a verifier. Its secret is sealed, and never shown again.

        Raises: InvalidInput; Conflict when the name is taken, or the account has too many.
        """
        if not _NAME.fullmatch(name):
            raise InvalidInput(f"a name has 1 to {MAX_NAME} of A-Z a-z 0-9 _ -", field="name")
        check_settings(kind, settings)
        _check_key_name(kind, key_name)
        _check_secret(kind, settings, secret)
        verifier = Verifier(
            account=account,
            name=name,
            kind=kind,
            settings=settings,
            key_name=key_name,
            sealed=self._sealed(account, name, secret),
            added_on=int(self._clock()),
        )
        await self._store.add(verifier, MOST_VERIFIERS)
        return verifier

    async def read(self, account: AccountId, name: str) -> Verifier:
        """Return a verifier.

        Raises: NotFound.
        """
        _check_known(name)
        return await self._store.verifier(account, name)

    async def list(self, account: AccountId) -> Sequence[Verifier]:
        """Return the account's verifiers, by name."""
        return await self._store.verifiers(account)

    async def change(
        self,
        account: AccountId,
        name: str,
        change: Callable[[VerifierSettings], VerifierSettings],
        *,
        key_name: str | None = None,
        secret: Secret | None = None,
    ) -> Verifier:
        """Change the settings of a verifier, and what is given of its key.

        Raises: NotFound; InvalidInput, with nothing changed.
        """
        _check_known(name)

        def changed(verifier: Verifier) -> Verifier:
            settings = change(verifier.settings)
            check_settings(verifier.kind, settings)
            called = verifier.key_name if key_name is None else key_name
            _check_key_name(verifier.kind, called)
            if secret is not None or verifier.sealed:
                _check_secret(verifier.kind, settings, secret or self.secret(verifier))
            sealed = verifier.sealed if secret is None else self._sealed(account, name, secret)
            return replace(verifier, settings=settings, key_name=called, sealed=sealed)

        return await self._store.change(account, name, changed)

    async def remove(self, account: AccountId, name: str) -> None:
        """Forget a verifier, and its secret. What was minted for it is good until its end.

        Raises: NotFound.
        """
        _check_known(name)
        await self._store.remove(account, name)

    def secret(self, verifier: Verifier) -> Secret:
        """Return the secret of a verifier that has one: to mint with, and to show to nobody."""
        return self._keyring.unseal(verifier.sealed, _place(verifier.account, verifier.name))

    def _sealed(self, account: AccountId, name: str, secret: Secret | None) -> bytes:
        return b"" if secret is None else self._keyring.seal(secret, _place(account, name))


def check_settings(kind: VerifierKind, settings: VerifierSettings) -> None:
    """Refuse settings that cannot be right.

    Raises: InvalidInput, naming the field at fault.
    """
    for name, default in _DEFAULTS.items():
        if getattr(settings, name) != default and name not in _USES[kind]:
            raise InvalidInput(f"a verifier of kind {kind} has no {_shown(name)}", field=_shown(name))
    _check_url(kind, settings.url)
    if settings.file and not _FILE.fullmatch(settings.file):
        raise InvalidInput("file is the name of a file, such as index.m3u8", field="file")
    if kind in _NEEDS_FILE and not settings.file:
        raise InvalidInput("name the file in the directory of a stream, such as index.m3u8", field="file")
    _check_names(settings)
    if not settings.opens or len(set(settings.opens)) != len(settings.opens):
        raise InvalidInput("opens names publish, subscribe or both, each once", field="opens")
    if not set(settings.protocols) <= set(SPEAKS[kind]):
        raise InvalidInput(f"{kind} lets media through over {' '.join(SPEAKS[kind])}", field="protocols")


def _check_names(settings: VerifierSettings) -> None:
    for name in ("policy_query", "signature_query"):
        if not _QUERY_NAME.fullmatch(getattr(settings, name)):
            raise InvalidInput(f"{_shown(name)} has 1 to 64 of A-Z a-z 0-9 _ -", field=_shown(name))
    if settings.policy_query == settings.signature_query:
        raise InvalidInput("the policy and the signature have names of their own", field="signatureQuery")
    for name in ("issuer", "audience"):
        if not _CLAIM.fullmatch(getattr(settings, name)):
            raise InvalidInput(f"{name} has at most 256 characters, and no spaces", field=name)


_DEFAULTS: Final[Mapping[str, object]] = MappingProxyType(
    {name: getattr(VerifierSettings(), name) for name in VerifierSettings.__dataclass_fields__}
)


def _shown(name: str) -> str:
    """Return the name of a setting as the API writes it."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _check_url(kind: VerifierKind, url: str) -> None:
    """Refuse an address that nothing could be put behind."""
    if not url:
        if kind in _NEEDS_URL:
            raise InvalidInput("say where its streams are", field="url")
        return
    if len(url) > _MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidInput(f"url has at most {_MAX_URL} characters, of ASCII", field="url")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidInput("url is no URL", field="url") from None
    if parts.scheme not in _SCHEMES[kind] or not parts.hostname:
        raise InvalidInput(f"url begins with one of {', '.join(_SCHEMES[kind])}, and names a host", field="url")
    if parts.query or parts.fragment or "?" in url or "#" in url or parts.username is not None or url.endswith("/"):
        raise InvalidInput("url ends with a path, without a slash at the end, a query or a user", field="url")
    if kind is VerifierKind.OVENMEDIAENGINE and port is None and parts.scheme != "srt":
        raise InvalidInput("url has its port, even the default one: OvenMediaEngine signs it too", field="url")


def _check_key_name(kind: VerifierKind, key_name: str) -> None:
    if kind is VerifierKind.LIVEKIT or (kind is VerifierKind.CAT and key_name):
        if not _KEY_NAME.fullmatch(key_name):
            raise InvalidInput(
                "keyName has 1 to 128 of A-Z a-z 0-9 _ . -: what the server knows the key by", field="keyName"
            )
    elif key_name:
        raise InvalidInput(f"a verifier of kind {kind} has no keyName", field="keyName")


def _check_secret(kind: VerifierKind, settings: VerifierSettings, secret: Secret | None) -> None:
    if kind is VerifierKind.MEDIAMTX:
        if secret is not None:
            raise InvalidInput(
                "MediaMTX checks our own signature, by our published keys: there is no secret", field="secret"
            )
        return
    if secret is None or not 1 <= len(secret.reveal()) <= MAX_SECRET or "\0" in secret.reveal():
        raise InvalidInput(f"the secret has 1 to {MAX_SECRET} characters", field="secret")
    if kind is VerifierKind.CAT:
        cat.key_of(settings.algorithm, secret)
    if kind is VerifierKind.SECURE_LINK and not _PLAIN_SECRET.fullmatch(secret.reveal()):
        raise InvalidInput(
            "the secret has 16 to 256 of A-Z a-z 0-9 _ -, as it stands in nginx's configuration", field="secret"
        )


def _check_known(name: str) -> None:
    """Refuse what cannot be the name of a verifier.

    Raises: NotFound.
    """
    if not _NAME.fullmatch(name):
        raise NotFound("there is no such verifier", field="verifier")


def _place(account: AccountId, name: str) -> str:
    return f"verifier.sealed:{account}/{name}"
