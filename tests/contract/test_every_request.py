"""20,000 requests that schemathesis makes of our own OpenAPI document, right ones and wrong ones, to the whole application.

No answer is a 500 or above, every status is declared, and every answer has the shape that is declared of it. schemathesis
makes the requests and writes them as they travel; they are handed to the application without a network, which leaves time for
more of them. The requests are the same in every run.
"""

import asyncio
import base64
import contextlib
import itertools
import json
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as hypothesis_settings
from schemathesis import Case, GenerationMode

from stagedoor.app import administration, authority
from stagedoor.config import Settings
from stagedoor.edge.asgi import App, Message
from tests.answers import Answers, WrongAnswer

REQUESTS: Final = 20_000

_BASE: Final = "http://authority.test"
_KEPT: Final = 30

_SAME: Final = {
    "/v1/publish-tokens": "/api/publish_token",
    "/v1/subscribe-tokens": "/api/subscribe_token",
    "/v1/webhooks": "/api/webhooks",
}
"""Paths below which things have the ids that they have below another."""

Headers = list[tuple[bytes, bytes]]


class Answered(NamedTuple):
    """An answer as it was sent."""

    status: int
    content_type: str
    body: bytes


class Authority:
    """The whole application on a new database, which runs for as long as it is called."""

    def __init__(self, settings: Settings) -> None:
        """Start it, and make its first account."""
        self._runner = asyncio.Runner()
        self._stack = contextlib.AsyncExitStack()
        self._app, secret = self._runner.run(self._start(settings))
        self._loop = self._runner.get_loop()
        self.headers = {"Authorization": f"Bearer {secret}"}
        self.document: dict[str, Any] = json.loads(self.send("GET", f"{_BASE}/openapi.json", [], b"").body)
        authorization = [(b"authorization", self.headers["Authorization"].encode())]
        self.own_application, self.application_headers = self._application(authorization)
        self.own_secret: int = json.loads(self.send("GET", f"{_BASE}/v1/api-secrets", authorization, b"").body)[0]["id"]

    def _application(self, authorization: Headers) -> tuple[int, dict[str, str]]:
        """Make an application, and return its id and what it shows itself with."""
        body = json.dumps({"label": "asks", "scopes": ["live:*"]}).encode()
        made = json.loads(self.send("POST", f"{_BASE}/v1/applications", authorization, body).body)
        shown = base64.b64encode(f"{made['appKey']}:{made['appSecret']}".encode()).decode()
        return made["id"], {"Authorization": f"Basic {shown}"}

    def close(self) -> None:
        """End it."""
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def send(self, method: str, url: str, headers: Headers, body: bytes) -> Answered:
        """Hand over a request, as a server would, and return the answer."""
        parts = urlsplit(url)
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": unquote(parts.path),
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "headers": headers,
            "client": ("192.0.2.1", 1),
        }
        return self._loop.run_until_complete(self._answer(scope, body))

    async def _answer(self, scope: dict[str, Any], body: bytes) -> Answered:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        headers = dict(sent[0]["headers"])
        return Answered(sent[0]["status"], headers[b"content-type"].decode(), sent[1]["body"])

    async def _start(self, settings: Settings) -> tuple[App, str]:
        admin = await self._stack.enter_async_context(administration(settings))
        first = await admin.accounts.create_first("admin@example.com")
        running = await self._stack.enter_async_context(authority(settings))
        for task in asyncio.all_tasks():
            # The addresses of webhooks are made up here, and nobody out there shall be called at them.
            if task.get_name() in {"dispatcher", "deliverer"}:
                task.cancel()
        return running.app, first.api_secret.reveal()


class Requests:
    """What is asked, and what came of it."""

    def __init__(self, asked: Authority) -> None:
        """Take whom to ask."""
        self._authority = asked
        self._answers = Answers(asked.document)
        self._known: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=_KEPT))
        self._turns = itertools.count()
        self.statuses: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.wrong: dict[str, str] = {}

    @property
    def count(self) -> int:
        """How many were sent."""
        return sum(counter.total() for counter in self.statuses.values())

    def ask(self, case: Case[Any]) -> None:
        """Send one, and hold its answer to the document; what is wrong is noted, the first time for each operation."""
        name: str = case.operation.label
        self._name_what_exists(case)
        request = requests.Request(**case.as_transport_kwargs(_BASE, self._headers_of(case))).prepare()
        headers = [
            (key.lower().encode("latin-1"), value if isinstance(value, bytes) else value.encode("latin-1"))
            for key, value in request.headers.items()
        ]
        body = request.body or b""
        content = body.encode() if isinstance(body, str) else body
        assert isinstance(content, bytes)
        assert request.method is not None
        assert request.url is not None
        answered = self._authority.send(request.method, request.url, headers, content)
        self.statuses[name][answered.status] += 1
        path = unquote(urlsplit(request.url).path)
        try:
            self._answers.check(request.method, path, *answered)
        except WrongAnswer as error:
            self.wrong.setdefault(name, f"{error}: {case.as_curl_command()}")
        if answered.status >= 500:
            self.wrong.setdefault(f"{name} {answered.status}", f"{answered.body!r}: {case.as_curl_command()}")
        if case.method == "POST" and answered.status in {200, 201} and answered.content_type == "application/json":
            self._keep(case.path, answered.body)

    def _headers_of(self, case: Case[Any]) -> dict[str, str]:
        """Return what is shown for an operation: wrong keys and secrets would be answered later each time."""
        by_application = case.operation.definition.raw["security"] == [{"Application": []}]
        return self._authority.application_headers if by_application else self._authority.headers

    def _name_what_exists(self, case: Case[Any]) -> None:
        """Put an id that exists in the place of a made-up one, two times of three."""
        for name, made_up in case.path_parameters.items():
            below = case.path.partition(f"/{{{name}}}")[0]
            known = self._known[_SAME.get(below, below)]
            if known and next(self._turns) % 3:
                known.rotate()
                case.path_parameters[name] = known[0]
            elif name == "apiSecretId" and _as_number(made_up) == self._authority.own_secret:
                # Without the secret that is shown here, nothing would be found out any more.
                case.path_parameters[name] = "0"
            if name == "applicationId" and _as_number(case.path_parameters[name]) == self._authority.own_application:
                case.path_parameters[name] = "0"

    def _keep(self, path: str, body: bytes) -> None:
        """Remember the id of what was made."""
        made = json.loads(body)
        made = made.get("data", made) if isinstance(made, dict) else made
        if isinstance(made, dict) and ("id" in made or path == "/v1/verifiers"):
            self._known[path].append(str(made.get("id", made.get("name"))))


def _as_number(made_up: Any) -> int:
    text = unquote(str(made_up))
    return int(text) if text.isdecimal() and len(text) < 20 else 0


@pytest.fixture
def asked(settings: Settings) -> Iterator[Authority]:
    """The application, for this test."""
    running = Authority(settings)
    yield running
    running.close()


def budget(operation: Any) -> int:
    """Return how many requests are made of an operation in one turn: where more is taken, there is more to get wrong."""
    definition = operation.definition.raw
    if "requestBody" in definition:
        return 185
    if any(parameter["in"] == "query" for parameter in definition.get("parameters", ())):
        return 105
    return 52 if definition.get("parameters") else 5


def test_no_request_fails_and_no_answer_is_undeclared(asked: Authority) -> None:
    """Most operations are also carried out, so that it is not only refusals that were looked at."""
    schema = schemathesis.openapi.from_dict(asked.document)
    found: list[Any] = list(schema.get_all_operations())
    operations = sorted((each.ok() for each in found), key=lambda operation: operation.method == "delete")
    sent = Requests(asked)
    for operation in operations:
        # What the document itself gives as examples comes first, so that there is something for the others to be about.
        definition = operation.definition.raw
        path = {
            each["name"]: each["schema"].get("enum", ["1"])[0]
            for each in definition.get("parameters", ())
            if each["in"] == "path"
        }
        for media_type, content in definition.get("requestBody", {}).get("content", {}).items():
            for _ in range(3):
                sent.ask(operation.Case(path_parameters=dict(path), body=content["example"], media_type=media_type))
    for turn, operation, mode in itertools.product(range(3), operations, GenerationMode):
        # One turn makes some more than the number that is to be; a further one only what is missing.
        if turn == 0 or sent.count < REQUESTS:
            _make(sent, operation, mode, turn)
    assert not sent.wrong, "\n".join(sent.wrong.values())
    assert sent.count >= REQUESTS
    carried_out = [name for name, statuses in sent.statuses.items() if {200, 201} & set(statuses)]
    assert len(carried_out) > 0.7 * len(operations), sorted(set(sent.statuses) - set(carried_out))


def _make(sent: Requests, operation: Any, mode: GenerationMode, turn: int) -> None:
    definition = operation.definition.raw
    takes_nothing = not definition.get("parameters") and "requestBody" not in definition
    if mode is GenerationMode.NEGATIVE and takes_nothing and not definition["security"]:
        return  # what is open to everybody and takes nothing cannot be asked for wrongly

    @seed(turn)
    @hypothesis_settings(
        max_examples=budget(operation),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        sent.ask(case)

    ask()
