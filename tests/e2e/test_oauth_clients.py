# ruff: noqa: D103
"""Clients of others' making get tokens, ask about them, revoke and verify them, of `stagedoor serve` over HTTPS.

The vendor's own of three versions, Authlib's OAuth 2.0 client, PyJWT, and `jose` for JavaScript of two.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
from authlib.integrations.requests_client import OAuth2Session

from tests.certificates import make_certificates
from tests.https import HttpsSystem
from tests.ports import HOST

CLIENTS: Final = Path(__file__).parent.parent / "clients"
INSTALLED: Final = Path(sys.prefix) / "clients"
OLD: Final = ("3.7.1", "4.0.1")

Json = dict[str, Any]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpsSystem]:
    folder = tmp_path_factory.mktemp("oauth")
    made = HttpsSystem(folder, make_certificates(folder / "certificates"))
    with made.serving():
        yield made


def application(system: HttpsSystem, *scopes: str) -> Json:
    with system.client() as client:
        answer = client.post("/v1/applications", json={"label": "x", "scopes": list(scopes)})
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


def publish_tokens(system: HttpsSystem, token: str) -> int:
    with system.client() as client:
        path = "/api/publish_token/list?page=1&itemsOnPage=10"
        return client.get(path, headers={"Authorization": f"Bearer {token}"}).status_code


# -- the vendor's


def asked(system: HttpsSystem, version: str, *questions: tuple[str, Json]) -> list[Json]:
    """Return what a version of the vendor's client makes of our answers."""
    environment = dict(os.environ)
    if version in OLD:
        folder = INSTALLED / version
        assert folder.is_dir(), f"dolbyio-rest-apis {version} is missing; make test installs it"
        environment["PYTHONPATH"] = str(folder)
    ran = subprocess.run(
        [
            sys.executable,
            str(CLIENTS / "ask.py"),
            f"{HOST}:{system.port}",
            str(system.certificates.authority),
            json.dumps(questions),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert said["version"] == version
    answers: list[Json] = said["answers"]
    return answers


def ask_of(version: str) -> str:
    return "authentication.get_api_token" if version in OLD else "media.authentication.get_api_token"


@pytest.mark.parametrize("version", [*OLD, "5.0.0"])
def test_the_vendors_client_gets_a_token_and_reads_what_is_wrong(system: HttpsSystem, version: str) -> None:
    made = application(system, "live:publish_token:read", "live:stream:stop")
    shown = {"app_key": made["appKey"], "app_secret": made["appSecret"]}
    ask = ask_of(version)
    got, short, too_long, wrong = asked(
        system,
        version,
        (ask, shown),
        (ask, shown | {"expires_in": 60}),
        (ask, shown | {"expires_in": 86_401}),
        (ask, shown | {"app_secret": "wrong"}),
    )
    assert (got["type"], got["expires_in"], got["scope"]) == (
        "Bearer",
        1800,
        "live:publish_token:read live:stream:stop",
    )
    assert publish_tokens(system, got["token"]) == 200
    assert short["expires_in"] == 60
    assert (too_long["status"], too_long["code"], too_long["type"]) == (400, 400, "about:blank")
    assert "86400 seconds" in too_long["description"]
    assert (wrong["status"], wrong["code"]) == (401, 401)
    assert wrong["reason"] == ("invalid_client" if version in OLD else "Unauthorized")
    assert wrong["description"] == "the application's key and secret are not known"


@pytest.mark.parametrize("version", OLD)
def test_the_vendors_older_clients_ask_for_scopes(system: HttpsSystem, version: str) -> None:
    made = application(system, "live:publish_token:*", "live:stream:stop")
    shown = {"app_key": made["appKey"], "app_secret": made["appSecret"]}
    scopes = ["live:publish_token:read", "live:stream:stop"]
    got, refused = asked(
        system, version, (ask_of(version), shown | {"scope": scopes}), (ask_of(version), shown | {"scope": ["comms:*"]})
    )
    assert got["scope"] == " ".join(scopes)
    assert (refused["status"], refused["reason"]) == (400, "invalid_scope")
    assert "there is no scope 'comms:*'" in refused["description"]


@pytest.mark.parametrize("version", OLD)
def test_the_vendors_older_clients_get_tokens_for_clients(system: HttpsSystem, version: str) -> None:
    made = application(system, "live:client_access_token:create", "live:publish_token:*")
    shown = {"app_key": made["appKey"], "app_secret": made["appSecret"]}
    [got] = asked(system, version, (ask_of(version), shown))
    function = "communications.authentication.get_client_access_token_v2"
    of = {"access_token": got["token"], "external_id": "viewer-7", "expires_in": 120}
    narrow, wide = asked(
        system,
        version,
        (function, of | {"session_scope": ["live:publish_token:read"]}),
        (function, of | {"session_scope": ["live:*"]}),
    )
    assert (narrow["expires_in"], narrow["scope"]) == (120, "live:publish_token:read")
    assert publish_tokens(system, narrow["token"]) == 200
    assert (wide["status"], wide["reason"]) == (400, "invalid_scope")


# -- Authlib's


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlibs_client_finds_everything_by_the_metadata(system: HttpsSystem, method: str) -> None:
    """It gets a token, shows it, asks about it, revokes it, and is refused with it."""
    made = application(system, "live:publish_token:read")
    with OAuth2Session(
        client_id=made["appKey"],
        client_secret=made["appSecret"],
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
        scope="live:publish_token:read",
    ) as client:
        client.trust_env, client.verify = False, str(system.certificates.authority)
        path = f"{system.url}/.well-known/oauth-authorization-server"
        metadata = client.get(path, withhold_token=True, timeout=30).json()
        assert metadata["issuer"] == system.url
        token = client.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
        assert client.get(f"{system.url}/api/publish_token/list?page=1&itemsOnPage=10").status_code == 200
        assert client.get(f"{system.url}/api/cluster").status_code == 403
        told = client.introspect_token(metadata["introspection_endpoint"], token=token["access_token"]).json()
        assert (told["active"], told["client_id"]) == (True, made["appKey"])
        revoked = client.revoke_token(metadata["revocation_endpoint"], token=token["access_token"])
        assert revoked.status_code == 200
        told = client.introspect_token(metadata["introspection_endpoint"], token=token["access_token"]).json()
        assert told == {"active": False}
    assert publish_tokens(system, token["access_token"]) == 403


# -- who verifies


@pytest.fixture(scope="module")
def token(system: HttpsSystem) -> str:
    made = application(system, "live:publish_token:read")
    with system.client() as client:
        answer = client.post(
            "/v1/auth/token",
            auth=(made["appKey"], made["appSecret"]),
            data={"grant_type": "client_credentials"},
        )
    text: str = answer.json()["access_token"]
    return text


def altered(token: str) -> str:
    """Return it with another signature."""
    head, _, signature = token.rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


def test_pyjwt_verifies_a_token_by_the_published_keys(system: HttpsSystem, token: str) -> None:
    keys = jwt.PyJWKClient(f"{system.url}/.well-known/jwks.json", ssl_context=system.certificates.client())
    key = keys.get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key.key, algorithms=["ES256"], audience=system.url, issuer=system.url)
    assert claims["scope"] == "live:publish_token:read"
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(altered(token), key.key, algorithms=["ES256"], audience=system.url, issuer=system.url)


def verified(system: HttpsSystem, name: str, token: str) -> Json:
    node = shutil.which("node")
    assert node is not None, "node is missing; make test installs it"
    assert (CLIENTS / "node_modules" / name).is_dir(), f"{name} is missing; make test installs it"
    url = f"{system.url}/.well-known/jwks.json"
    ran = subprocess.run(
        [node, str(CLIENTS / "verify.mjs"), name, url, system.url],
        input=token,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"NODE_EXTRA_CA_CERTS": str(system.certificates.authority)},
    )
    assert ran.returncode == 0, ran.stderr
    said: Json = json.loads(ran.stdout)
    return said


@pytest.mark.parametrize("name", ["jose5", "jose6"])
def test_jose_verifies_a_token_by_the_published_keys(system: HttpsSystem, token: str, name: str) -> None:
    said = verified(system, name, token)
    assert said["header"] == jwt.get_unverified_header(token)
    assert said["claims"] == jwt.decode(token, options={"verify_signature": False})
    assert verified(system, name, altered(token)) == {"error": "ERR_JWS_SIGNATURE_VERIFICATION_FAILED"}
