# ruff: noqa: D103
"""The forms of media servers, against vectors of their documentation and other programs' computations."""

import base64
import json
import subprocess
from typing import Any

import jwt
import pytest

from stagedoor.model.access import Action
from stagedoor.model.errors import InvalidInput
from stagedoor.model.ids import AccountId, StreamId
from stagedoor.model.secret import Secret
from stagedoor.tokens.mint import janus, livekit, mediamtx, ovenmediaengine, secure_link

STREAM = StreamId(AccountId("acc"), "cam")


def openssl(digest: str, data: str, key: str | None = None) -> bytes:
    """Return a digest, or an HMAC, as openssl computes it."""
    command = ["openssl", "dgst", f"-{digest}", "-binary", *(["-hmac", key] if key else [])]
    return subprocess.run(command, input=data.encode(), capture_output=True, check=True).stdout


# -- OvenMediaEngine


def test_the_documented_signature_is_reproduced() -> None:
    url = "ws://192.168.0.100:3333/app/stream?policy=eyJ1cmxfZXhwaXJlIjoxMzk5NzIxNTgxfQ"
    assert ovenmediaengine.sign(url, Secret("1kU^b6")) == f"{url}&signature=dvVdBpoxAeCPl94Kt5RoiqLI0YE"


def test_the_documented_policy_is_written_as_it_is_there() -> None:
    signed = ovenmediaengine.signed_policy(
        "ws://192.168.0.100:3333/app/stream", ovenmediaengine.Policy(url_expire=1399721581), Secret("1kU^b6")
    )
    assert signed.endswith("?policy=eyJ1cmxfZXhwaXJlIjoxMzk5NzIxNTgxfQ&signature=dvVdBpoxAeCPl94Kt5RoiqLI0YE")


def test_other_parameters_are_signed_and_names_can_be_others() -> None:
    policy = ovenmediaengine.Policy(
        url_expire=2, url_activate=1, stream_expire=3, allow_ip="192.0.2.9/32", real_ip="192.0.2.0/24"
    )
    signed = ovenmediaengine.signed_policy(
        "ws://h:3333/app/s?direction=send", policy, Secret("key"), policy_query="p", signature_query="sig"
    )
    url, _, signature = signed.rpartition("&sig=")
    expected = base64.urlsafe_b64encode(openssl("sha1", url, "key")).rstrip(b"=").decode()
    assert signature == expected
    head, _, encoded = url.partition("&p=")
    assert head == "ws://h:3333/app/s?direction=send"
    assert json.loads(base64.urlsafe_b64decode(encoded + "==")) == {
        "url_expire": 2,
        "url_activate": 1,
        "stream_expire": 3,
        "allow_ip": "192.0.2.9/32",
        "real_ip": "192.0.2.0/24",
    }


# -- Janus


@pytest.mark.parametrize(
    ("realm", "descriptors", "data"),
    [
        ("janus", ["janus.plugin.videoroom"], "1700000000,janus,janus.plugin.videoroom"),
        ("janus.plugin.videoroom", ["room=1234"], "1700000000,janus.plugin.videoroom,room=1234"),
        ("janus", [], "1700000000,janus"),
    ],
)
def test_janus_tokens_are_what_another_program_signs(realm: str, descriptors: list[str], data: str) -> None:
    token = janus.signed_token(last_second=1700000000, realm=realm, descriptors=descriptors, secret=Secret("s3cret"))
    assert token.reveal() == f"{data}:{base64.b64encode(openssl('sha1', data, 's3cret')).decode()}"
    assert "1700000000" not in repr(token)


@pytest.mark.parametrize("part", ["room=a,room=b", "room=a:b"])
def test_a_part_cannot_bring_other_parts(part: str) -> None:
    with pytest.raises(InvalidInput):
        janus.signed_token(last_second=1, realm="janus", descriptors=[part], secret=Secret("s"))


# -- LiveKit


@pytest.mark.parametrize("action", Action)
def test_livekit_grants_say_everything(action: Action) -> None:
    secret = Secret("a secret of more than 32 characters, as LiveKit asks")
    token = livekit.access_token(
        key="API1", secret=secret, action=action, room="acc/cam", identity="ada", now=1000, expires_at=1300
    )
    decoded: dict[str, Any] = jwt.decode_complete(
        token.reveal(), secret.reveal(), algorithms=["HS256"], options={"verify_exp": False}
    )
    publishes = action is Action.PUBLISH
    assert decoded["header"] == {"alg": "HS256", "typ": "JWT"}
    assert decoded["payload"] == {
        "iss": "API1",
        "sub": "ada",
        "nbf": 1000,
        "exp": 1300,
        "video": {
            "roomJoin": True,
            "room": "acc/cam",
            "canPublish": publishes,
            "canSubscribe": not publishes,
            "canPublishData": False,
            "canUpdateOwnMetadata": False,
        },
    }


# -- MediaMTX


def test_mediamtx_claims() -> None:
    claims = mediamtx.claims(
        action=Action.SUBSCRIBE, stream=STREAM, subject="7", now=1000, expires_at=1300, issuer="us", audience="them"
    )
    assert claims == {
        "mediamtx_permissions": [{"action": "read", "path": "acc/cam"}],
        "sub": "7",
        "iat": 1000,
        "nbf": 1000,
        "exp": 1300,
        "iss": "us",
        "aud": "them",
    }


@pytest.mark.parametrize(
    "stream", [StreamId(AccountId(""), "cam"), StreamId(AccountId("acc"), ""), StreamId(AccountId("~x"), "y")]
)
def test_mediamtx_never_gets_a_path_that_means_more(stream: StreamId) -> None:
    """Empty is any path to it, and ~ begins a regular expression."""
    with pytest.raises(InvalidInput):
        mediamtx.claims(action=Action.PUBLISH, stream=stream, subject="7", now=0, expires_at=1)


# -- nginx


@pytest.mark.parametrize(("address", "said"), [("", ""), ("192.0.2.9", " 192.0.2.9"), ("2001:db8::1", " 2001:db8::1")])
def test_links_are_what_another_program_hashes(address: str, said: str) -> None:
    made = secure_link.link(path="acc/cam", last_second=1700000000, secret=Secret("s3cret"), address=address)
    digest = openssl("md5", f"1700000000 /acc/cam{said} s3cret")
    assert made == f"{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}/1700000000"
