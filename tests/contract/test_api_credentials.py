# ruff: noqa: D103
"""Applications, their tokens, and what those may do, through the whole application on two workers."""

import base64
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote_plus

import httpx
import jwt
import pytest

from stagedoor.app import Administration, administration, authority
from stagedoor.config import Settings
from stagedoor.model.scope import ALL_SCOPES, KNOWN
from tests.answers import Checked, whole_document

TOKEN, INTROSPECT, REVOKE = "/v1/auth/token", "/v1/auth/introspect", "/v1/auth/revoke"
APPLICATIONS, CLIENT_TOKEN = "/v1/applications", "/v2/client-access-token"
GRANT: Final = {"grant_type": "client_credentials"}
PUBLISH_LIST = "/api/publish_token/list?page=1&itemsOnPage=10"
ERROR_FIELDS: Final = {
    "type",
    "title",
    "status",
    "detail",
    "error",
    "error_code",
    "error_reason",
    "error_description",
    "message",
}

Json = dict[str, Any]


class Hands:
    """A clock that runs, and can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.stopped: float | None = None

    def __call__(self) -> float:
        return (time.time() if self.stopped is None else self.stopped) + self.ahead


@dataclass
class System:
    """A system with one account, and the API as anybody reaches it."""

    admin: Administration
    apps: list[Any]
    first: str
    clock: Hands

    async def call(self, method: str, path: str, *, worker: int = 0, ip: str = "192.0.2.1", **more: Any) -> Any:
        """Send a request to one of the workers; `bearer` or `auth` is shown."""
        headers = dict(more.pop("headers", {}))
        bearer = more.pop("bearer", None)
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer}"
        transport = Checked(httpx.ASGITransport(app=self.apps[worker], client=(ip, 1)))
        async with httpx.AsyncClient(transport=transport, base_url="http://authority") as client:
            return await client.request(method, path, headers=headers, **more)

    async def application(self, *scopes: str, label: str = "Backend", bearer: str | None = None) -> Json:
        """Make an application."""
        body = {"label": label, "scopes": list(scopes)}
        answer = await self.call("POST", APPLICATIONS, bearer=bearer or self.first, json=body)
        assert answer.status_code == 201, answer.text
        made: Json = answer.json()
        return made

    async def ask(self, application: Json, *, worker: int = 0, **form: Any) -> Any:
        """Ask for a token of an application's."""
        return await self.call("POST", TOKEN, worker=worker, auth=shown(application), data=GRANT | form)

    async def token(self, application: Json, **form: Any) -> str:
        """Get one."""
        answer = await self.ask(application, **form)
        assert answer.status_code == 200, answer.text
        text: str = answer.json()["access_token"]
        return text

    async def statuses(self, bearer: str, path: str = PUBLISH_LIST) -> set[int]:
        """Return what both workers answer who shows `bearer`."""
        return {(await self.call("GET", path, bearer=bearer, worker=worker)).status_code for worker in (0, 1)}


def shown(application: Json) -> tuple[str, str]:
    return application["appKey"], application["appSecret"]


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[System]:
    """Run two workers on one database."""
    clock = Hands()
    async with (
        authority(settings, clock) as one,
        authority(settings, clock) as two,
        administration(settings, clock) as admin,
    ):
        first = await admin.accounts.create_first("admin@example.com")
        yield System(admin, [one.app, two.app], first.api_secret.reveal(), clock)


@pytest.fixture
async def system(settings: Settings) -> AsyncIterator[System]:
    async with running(settings) as system:
        yield system


# -- getting a token


async def test_an_application_gets_a_token_that_every_worker_takes(system: System) -> None:
    made = await system.application("live:publish_token:read", "live:stream:stop")
    answer = await system.ask(made)
    assert answer.status_code == 200
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "scope"}
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 1800)
    assert body["scope"] == "live:publish_token:read live:stream:stop"
    assert await system.statuses(body["access_token"]) == {200}


async def test_the_token_is_a_jwt_of_rfc_9068_that_others_verify_by_our_published_keys(system: System) -> None:
    made = await system.application("live:publish_token:*")
    text = await system.token(made, expires_in=60)
    header = jwt.get_unverified_header(text)
    keys = jwt.PyJWKSet.from_dict((await system.call("GET", "/.well-known/jwks.json")).json())
    assert header == {"alg": "ES256", "kid": header["kid"], "typ": "at+jwt"}
    metadata = (await system.call("GET", "/.well-known/oauth-authorization-server")).json()
    claims = jwt.decode(text, keys[header["kid"]].key, algorithms=["ES256"], audience=metadata["issuer"])
    assert claims == {
        "iss": metadata["issuer"],
        "aud": metadata["issuer"],
        "sub": made["appKey"],
        "client_id": made["appKey"],
        "scope": "live:publish_token:*",
        "iat": claims["iat"],
        "exp": claims["iat"] + 60,
        "jti": claims["jti"],
    }


async def test_the_secret_may_stand_in_the_form(system: System) -> None:
    made = await system.application("live:*")
    form = GRANT | {"client_id": made["appKey"], "client_secret": made["appSecret"]}
    assert (await system.call("POST", TOKEN, data=form)).status_code == 200
    both = await system.call("POST", TOKEN, data=form, auth=shown(made))
    assert (both.status_code, both.json()["error"]) == (400, "invalid_request")
    other = await system.call("POST", TOKEN, data=GRANT | {"client_id": "sdk_other"}, auth=shown(made))
    assert (other.status_code, other.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(("asked", "seconds"), [(None, 1800), (1, 1), (86_400, 86_400), ("", 1800)])
async def test_a_token_lasts_as_long_as_is_asked_for(system: System, asked: int | None, seconds: int) -> None:
    made = await system.application("live:*")
    form = {} if asked is None else {"expires_in": asked}
    assert (await system.ask(made, **form)).json()["expires_in"] == seconds


@pytest.mark.parametrize("asked", ["0", "-1", "86401", "1.5", "1e3", "x", "1" * 400, "nan", "true"])
async def test_any_other_length_is_refused_and_says_what_there_is(system: System, asked: str) -> None:
    made = await system.application("live:*")
    answer = await system.ask(made, expires_in=asked)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert "expires_in" in answer.json()["error_description"]


async def test_a_token_has_the_scopes_that_are_asked_for_and_no_others(system: System) -> None:
    made = await system.application("live:publish_token:*", "live:cluster:read")
    answer = await system.ask(made, scope="live:publish_token:read")
    assert answer.json()["scope"] == "live:publish_token:read"
    token = answer.json()["access_token"]
    assert await system.statuses(token) == {200}
    refused = await system.call("GET", "/api/cluster", bearer=token)
    assert refused.status_code == 403
    assert "live:cluster:read" in refused.json()["data"]["message"]
    native = await system.call("GET", "/v1/api-secrets", bearer=token)
    assert (native.status_code, native.json()["code"]) == (403, "insufficient_scope")
    assert "live:api_secret:read" in native.json()["detail"]
    assert native.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="live:api_secret:read"'


@pytest.mark.parametrize(
    "scope",
    [
        "live:publish_token:create",
        "live:*",
        "live:cluster:*",
        "live:publish_token:read live:publish_token:delete",
        "live:publish_token:reed",
        "LIVE:publish_token:read",
        "live:publish_token:read\tlive:cluster:read",
        "comms:*",
        "*",
        "live:*:*",
        " ",
    ],
)
async def test_a_scope_that_there_is_not_or_that_it_has_not_is_an_error_and_never_dropped(
    system: System, scope: str
) -> None:
    made = await system.application("live:publish_token:read", "live:cluster:read")
    answer = await system.ask(made, scope=scope)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


async def test_an_unknown_scope_is_answered_with_all_that_there_are(system: System) -> None:
    made = await system.application("live:*")
    said = (await system.ask(made, scope="live:nothing:read")).json()["error_description"]
    assert "'live:nothing:read'" in said
    assert all(scope in said for scope in KNOWN)


BAD_REQUESTS: Final[dict[str, tuple[bytes, int, str]]] = {
    "no grant": (b"expires_in=5", 400, "invalid_request"),
    "another grant": (b"grant_type=password", 400, "unsupported_grant_type"),
    "twice": (b"grant_type=client_credentials&scope=live%3A*&scope=live%3A*", 400, "invalid_request"),
    "no UTF-8": (b"grant_type=client_credentials&scope=%ff", 400, "invalid_request"),
    "too many": (b"&".join(b"a%d=1" % n for n in range(300)), 400, "invalid_request"),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
async def test_what_is_wrong_is_told_in_the_codes_of_rfc_6749(system: System, case: str) -> None:
    made = await system.application("live:*")
    body, status, code = BAD_REQUESTS[case]
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = await system.call("POST", TOKEN, auth=shown(made), content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (status, code)
    assert answer.headers["cache-control"] == "no-store"
    as_json = await system.call("POST", TOKEN, auth=shown(made), json=GRANT)
    assert (as_json.status_code, as_json.json()["error"]) == (400, "invalid_request")


async def test_who_shows_no_application_is_told_how(system: System) -> None:
    """The same for a wrong key, a wrong secret, and whatever else; nothing of what was shown is in the answer."""
    made = await system.application("live:*")
    key, secret = shown(made)
    wrong = secret[:-8] + ("A" if secret[-8] != "A" else "B") + secret[-7:]
    answers = []
    for n, given in enumerate([(key, wrong), (key, ""), ("", ""), ("sdk_nobody", secret), (secret, key), (key, key)]):
        answers.append(await system.call("POST", TOKEN, auth=given, data=GRANT, ip=f"198.51.100.{n}"))
    for n, header in enumerate(["Basic", "Basic !!!", f"Bearer {system.first}", "Basic Zm9v"]):
        ip = f"198.51.100.{100 + n}"
        answers.append(await system.call("POST", TOKEN, headers={"Authorization": header}, data=GRANT, ip=ip))
    answers.append(await system.call("POST", TOKEN, data=GRANT, ip="198.51.100.200"))
    for answer in answers:
        body = answer.json()
        assert answer.status_code == 401
        assert set(body) == ERROR_FIELDS
        assert (body["error"], body["error_reason"]) == ("invalid_client", "invalid_client")
        assert (body["status"], body["error_code"], body["title"]) == (401, 401, "Unauthorized")
        assert body["detail"] == body["error_description"] == body["message"]
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert secret not in answer.text
        assert wrong not in answer.text


async def test_basic_credentials_come_as_in_forms(system: System) -> None:
    """RFC 6749 section 2.3.1: each part is encoded as in a form, and then joined."""
    made = await system.application("live:*")
    key, secret = shown(made)
    encoded = "".join(f"%{ord(c):02X}" for c in key), quote_plus(secret)
    header = f"basic {base64.b64encode(':'.join(encoded).encode()).decode()}"
    assert (await system.call("POST", TOKEN, headers={"Authorization": header}, data=GRANT)).status_code == 200


async def test_whoever_guesses_secrets_waits(system: System) -> None:
    made = await system.application("live:*")
    waits = []
    for _ in range(7):
        begun = time.monotonic()
        guessed = (made["appKey"], "sda_guess")
        assert (await system.call("POST", TOKEN, auth=guessed, data=GRANT)).status_code == 401
        waits.append(time.monotonic() - begun)
    assert waits[6] >= 0.2 > min(waits)


# -- what ends a token


async def test_a_token_is_good_until_its_last_second_and_not_in_it(system: System) -> None:
    made = await system.application("live:*")
    system.clock.stopped = float(int(time.time()))
    token = await system.token(made, expires_in=60)
    system.clock.ahead = 59.999
    assert await system.statuses(token) == {200}
    system.clock.ahead = 60.0
    assert await system.statuses(token) == {403}
    system.clock.ahead = -0.001
    assert await system.statuses(token) == {403}


async def test_an_altered_token_is_none(system: System) -> None:
    """In any of its parts, and under any other header."""
    made = await system.application("live:*")
    token = await system.token(made)
    head, claims, signature = token.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    flipped = signature[:-2] + ("AA" if signature[-2:] != "AA" else "QQ")
    for n, text in enumerate(
        [
            f"{none}.{claims}.",
            f"{none}.{claims}.{signature}",
            f"{head}.{claims}.",
            f"{head}.{claims}.{flipped}",
            f"{head}.{claims}.{signature}=",
            f"{head}.{claims}A.{signature}",
            token + " x",
            "a.b.c",
            "..",
            "x" * 20_000 + "..",
        ]
    ):
        assert (await system.call("GET", PUBLISH_LIST, bearer=text, ip=f"203.0.113.{n}")).status_code == 403
    assert await system.statuses(token) == {200}


async def test_a_revoked_signing_key_takes_its_tokens_with_it_until_it_is_restored(system: System) -> None:
    made = await system.application("live:*")
    token = await system.token(made)
    assert await system.statuses(token) == {200}
    kid = jwt.get_unverified_header(token)["kid"]
    await system.admin.signing_keys.retire(kid)
    assert await system.statuses(token) == {200}
    await system.admin.signing_keys.revoke(kid)
    assert await system.statuses(token) == {403}
    assert await system.statuses(await system.token(made)) == {200}
    await system.admin.signing_keys.restore(kid)
    assert await system.statuses(token) == {200}


async def test_a_deleted_application_has_no_tokens_and_its_number_brings_none_back(system: System) -> None:
    made = await system.application("live:*")
    token = await system.token(made)
    assert await system.statuses(token) == {200}
    assert (await system.call("DELETE", f"{APPLICATIONS}/{made['id']}", bearer=system.first)).json() is True
    assert await system.statuses(token) == {403}
    assert (await system.ask(made)).status_code == 401
    await system.application("live:*")
    assert await system.statuses(token) == {403}


async def test_a_closed_account_has_no_tokens(system: System) -> None:
    made = await system.application("live:*")
    token = await system.token(made)
    assert await system.statuses(token) == {200}
    store = system.admin.store
    [account] = await store.accounts()
    await store.change_account(account, lambda policy: replace(policy, enabled=False))
    assert await system.statuses(token) == {403}
    assert (await system.ask(made)).status_code == 401
    await store.change_account(account, lambda policy: replace(policy, enabled=True))
    assert await system.statuses(token) == {200}


async def test_with_the_last_api_secret_the_api_is_closed_to_applications_too(system: System) -> None:
    made = await system.application("live:*")
    token = await system.token(made)
    [secret] = (await system.call("GET", "/v1/api-secrets", bearer=token)).json()
    assert (await system.call("DELETE", f"/v1/api-secrets/{secret['id']}", bearer=token)).status_code == 200
    assert await system.statuses(token) == {403}
    assert (await system.ask(made)).status_code == 401


async def test_scopes_that_an_application_loses_its_tokens_lose_at_once(system: System) -> None:
    made = await system.application("live:*")
    token = await system.token(made)
    assert await system.statuses(token) == {200}
    path = f"{APPLICATIONS}/{made['id']}"
    changed = await system.call("PUT", path, bearer=system.first, json={"scopes": ["live:cluster:read"]})
    assert (changed.json()["scopes"], changed.json()["label"]) == (["live:cluster:read"], "Backend")
    assert await system.statuses(token) == {403}
    assert await system.statuses(token, "/api/cluster") == {200}


async def test_tokens_that_are_long_over_are_deleted_and_no_others(system: System) -> None:
    made = await system.application("live:*")
    system.clock.stopped = float(int(time.time()))
    await system.token(made, expires_in=100)
    kept = await system.token(made, expires_in=101)
    system.clock.ahead = 7 * 86_400 + 101
    forgotten = await system.admin.store.api_tokens.forget(int(system.clock()) - 7 * 86_400)
    assert forgotten == 1
    system.clock.ahead = 100.5
    assert await system.statuses(kept) == {200}


# -- asking, and revoking


async def test_an_application_asks_about_its_own_tokens_and_sees_no_others(system: System) -> None:
    made, other = await system.application("live:cluster:read"), await system.application("live:*")
    token = await system.token(made)
    answer = await system.call("POST", INTROSPECT, auth=shown(made), data={"token": token})
    body = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert (body["active"], body["scope"], body["client_id"]) == (True, "live:cluster:read", made["appKey"])
    assert body["exp"] - body["iat"] == 1800
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims | {"active": True, "token_type": "Bearer"} == body
    for application, text in [(other, token), (made, "x"), (made, token + "x"), (made, made["appSecret"])]:
        answer = await system.call("POST", INTROSPECT, auth=shown(application), data={"token": text})
        assert (answer.status_code, answer.json()) == (200, {"active": False})
    assert (await system.call("POST", INTROSPECT, data={"token": token})).status_code == 401


async def test_a_revoked_token_is_refused_by_every_worker(system: System) -> None:
    """By its own application only; whatever is not there is answered the same."""
    made, other = await system.application("live:*"), await system.application("live:*")
    token, second = await system.token(made), await system.token(made)
    assert await system.statuses(token) == {200}
    for application, text in [(other, token), (made, "x"), (made, "x" * 9000)]:
        answer = await system.call("POST", REVOKE, auth=shown(application), data={"token": text})
        assert (answer.status_code, answer.json()) == (200, {})
    assert await system.statuses(token) == {200}
    for _ in range(2):
        assert (await system.call("POST", REVOKE, auth=shown(made), data={"token": token})).status_code == 200
        assert await system.statuses(token) == {403}
    answer = await system.call("POST", INTROSPECT, auth=shown(made), data={"token": token})
    assert answer.json() == {"active": False}
    assert await system.statuses(second) == {200}
    path = f"{APPLICATIONS}/{made['id']}/tokens"
    assert (await system.call("DELETE", path, bearer=system.first)).json() == {"revoked": 1}
    assert await system.statuses(second) == {403}


async def test_the_metadata_lead_to_what_is_there(system: System) -> None:
    answer = await system.call("GET", "/.well-known/oauth-authorization-server")
    body = answer.json()
    document = whole_document()["paths"]
    for name in ("token_endpoint", "introspection_endpoint", "revocation_endpoint", "jwks_uri"):
        assert body[name].removeprefix(body["issuer"]) in document, name
    assert set(body["scopes_supported"]) == KNOWN


# -- applications


async def test_an_application_says_its_scopes(system: System) -> None:
    """None is implied, none is dropped; that it may do everything is to be seen."""
    for scopes in (None, [], ["live:nothing:read"], ["live:cluster:read", "live:Cluster:read"], "live:*"):
        body = {"label": "x"} | ({} if scopes is None else {"scopes": scopes})
        answer = await system.call("POST", APPLICATIONS, bearer=system.first, json=body)
        assert (answer.status_code, answer.json()["field"]) == (400, "scopes"), scopes
    narrow, full = await system.application("live:cluster:*"), await system.application("live:*")
    assert (narrow["unrestricted"], full["unrestricted"]) == (False, True)
    listed = (await system.call("GET", APPLICATIONS, bearer=system.first)).json()
    assert [each["id"] for each in listed] == [narrow["id"], full["id"]]
    assert all("appSecret" not in each for each in listed)
    assert narrow["appSecret"].startswith(narrow["secrets"][0]["hint"])
    read = await system.call("GET", f"{APPLICATIONS}/{narrow['id']}", bearer=system.first)
    assert read.json() == listed[0]


async def test_a_secret_is_replaced_without_a_gap(system: System) -> None:
    made = await system.application("live:*")
    path = f"{APPLICATIONS}/{made['id']}/secrets"
    second = (await system.call("POST", path, bearer=system.first)).json()
    assert second["secrets"][0] == made["secrets"][0]
    assert (await system.call("POST", path, bearer=system.first)).status_code == 409
    token = await system.token(made)
    assert (await system.ask(second, worker=1)).status_code == 200
    answer = await system.call("DELETE", f"{path}/{made['secrets'][0]['id']}", bearer=system.first)
    assert answer.json() is True
    assert (await system.ask(made, worker=1)).status_code == 401
    assert (await system.ask(second)).status_code == 200
    assert await system.statuses(token) == {200}
    last = second["secrets"][1]["id"]
    assert (await system.call("DELETE", f"{path}/{last}", bearer=system.first)).status_code == 200
    assert (await system.ask(second)).status_code == 401
    assert await system.statuses(token) == {403}
    assert (await system.call("DELETE", f"{path}/{last}", bearer=system.first)).status_code == 404


async def test_nobody_makes_an_application_that_may_do_more_than_itself(system: System) -> None:
    """Nor gets hold of the secret of one, nor widens one, nor makes an API secret."""
    full = await system.application("live:*")
    manager = await system.application("live:application:*", "live:api_secret:*", "live:cluster:read")
    token = await system.token(manager)
    narrow = await system.application("live:cluster:read", bearer=token)
    attempts: list[tuple[str, str, Json | None]] = [
        ("POST", APPLICATIONS, {"label": "x", "scopes": ["live:*"]}),
        ("POST", APPLICATIONS, {"label": "x", "scopes": ["live:cluster:*"]}),
        ("PUT", f"{APPLICATIONS}/{narrow['id']}", {"scopes": ["live:stream:stop"]}),
        ("PUT", f"{APPLICATIONS}/{full['id']}", {"label": "mine"}),
        ("POST", f"{APPLICATIONS}/{full['id']}/secrets", None),
        ("POST", "/v1/api-secrets", {"label": "x"}),
        ("POST", "/v1/api-secrets/1/refresh", None),
    ]
    for method, path, body in attempts:
        answer = await system.call(method, path, bearer=token, json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope"), path
    assert len((await system.call("GET", APPLICATIONS, bearer=token)).json()) == 3
    added = await system.call("POST", f"{APPLICATIONS}/{narrow['id']}/secrets", bearer=token)
    assert added.status_code == 201


# -- tokens for clients


async def test_an_application_hands_on_a_narrower_token(system: System) -> None:
    made = await system.application("live:client_access_token:create", "live:publish_token:*")
    token = await system.token(made)
    body = {"sessionScope": "live:publish_token:read", "externalId": "żółw 7", "expires_in": 86_400}
    answer = await system.call("POST", CLIENT_TOKEN, bearer=token, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert (answer.json()["expires_in"], answer.json()["scope"]) == (86_400, "live:publish_token:read")
    client = answer.json()["access_token"]
    assert await system.statuses(client) == {200}
    assert await system.statuses(client, "/api/cluster") == {403}
    known = await system.call("POST", INTROSPECT, auth=shown(made), data={"token": client})
    assert (known.json()["external_id"], known.json()["sub"]) == ("żółw 7", made["appKey"])


async def test_a_client_token_is_never_wider_than_what_it_came_from(system: System) -> None:
    made = await system.application("live:*")
    token = await system.token(made, scope="live:client_access_token:create live:cluster:read")
    wide = {"sessionScope": "live:cluster:read live:cluster:update"}
    for scope in (wide["sessionScope"], "live:*", "live:cluster:*", "*", "", "conf:create"):
        answer = await system.call("POST", CLIENT_TOKEN, bearer=token, json={"sessionScope": scope})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope"), scope
    for more in ({"expires_in": 0}, {"expires_in": 86_401}, {"externalId": "x" * 129}, {"externalId": "a\nb"}):
        answer = await system.call(
            "POST", CLIENT_TOKEN, bearer=token, json={"sessionScope": "live:cluster:read"} | more
        )
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), more


async def test_no_client_token_begets_another_and_no_api_secret_one(system: System) -> None:
    made = await system.application("live:*")
    body = {"sessionScope": "live:client_access_token:create"}
    first = await system.call("POST", CLIENT_TOKEN, bearer=await system.token(made), json=body)
    assert first.status_code == 200
    for bearer in (first.json()["access_token"], system.first):
        answer = await system.call("POST", CLIENT_TOKEN, bearer=bearer, json=body)
        assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")
    nobody = await system.call("POST", CLIENT_TOKEN, json=body)
    assert (nobody.status_code, nobody.json()["error"]) == (401, "invalid_token")


# -- every operation


def _operations() -> list[tuple[str, str, Json]]:
    return [
        (method.upper(), path, operation)
        for path, methods in whole_document()["paths"].items()
        for method, operation in methods.items()
    ]


PUBLIC: Final = {"read_keys", "read_authorization_server"}
BY_APPLICATION: Final = {"create_api_token", "introspect_api_token", "revoke_api_token"}


def _scope(operation: Json) -> str:
    [needed] = operation["security"]
    [scope] = needed["API_Secret"]
    assert isinstance(scope, str)
    return scope


def test_every_operation_shows_its_scope_and_every_scope_is_good_for_something() -> None:
    open_to = {name["operationId"] for _, _, name in _operations() if name["security"] == []}
    assert open_to == PUBLIC
    applications = {o["operationId"] for _, _, o in _operations() if o["security"] == [{"Application": []}]}
    assert applications == BY_APPLICATION
    scopes = {_scope(o) for _, _, o in _operations() if o["operationId"] not in PUBLIC | BY_APPLICATION}
    assert scopes - {"live:*"} == set(ALL_SCOPES)


async def test_every_operation_refuses_who_has_all_scopes_but_its_own(system: System) -> None:
    """And says which it needs, as long as it is asked with anything else; with its own alone it answers otherwise."""
    tokens: dict[str, tuple[str, str]] = {}
    for scope in ALL_SCOPES:
        others = await system.application(*(set(ALL_SCOPES) - {scope}))
        tokens[scope] = (await system.token(others), await system.token(await system.application(scope)))
    everything = await system.token(await system.application(*ALL_SCOPES))
    tokens["live:*"] = (everything, system.first)
    looked_at = 0
    for method, template, operation in _operations():
        if operation["operationId"] in PUBLIC | BY_APPLICATION:
            continue
        scope = _scope(operation)
        without, only = tokens[scope]
        path = re.sub(r"\{\w+\}", "999999", template)
        refused = await system.call(method, path, bearer=without)
        assert refused.status_code == 403, (method, path, refused.text)
        assert scope in refused.text, (method, path, refused.text)
        let_in = await system.call(method, path, bearer=only)
        assert f"needs the scope {scope}" not in let_in.text, (method, path, let_in.text)
        looked_at += 1
    assert looked_at > 90
