# ruff: noqa: D103
"""The OpenAPI document and the page made of it, as a running authority hands them out."""

import json
import os
import re
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.answers import NO_OPERATION, Answers, whole_document
from tests.certificates import make_certificates
from tests.https import HttpsSystem

Json = dict[str, Any]

LOADS: Final = {
    "src",
    "srcset",
    "data",
    "poster",
    "background",
    "action",
    "formaction",
    "ping",
    "manifest",
    "xlink:href",
}
"""Attributes that make a browser fetch something, apart from `href`."""

FOLLOWED_BY_HAND: Final = {"a"}
VOID: Final = {"meta", "wbr", "br", "hr", "link", "img", "input"}

GROUNDS: Final = {"light": (0xFF, 0xFF, 0xFF), "dark": (0x14, 0x17, 0x1A)}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpsSystem]:
    folder = tmp_path_factory.mktemp("openapi")
    made = HttpsSystem(folder, make_certificates(folder / "certificates"))
    with made.serving():
        yield made


@pytest.fixture(scope="module")
def document(system: HttpsSystem) -> Json:
    with system.client() as client:
        answer = client.get("/openapi.json", headers={"Authorization": ""})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        shown: Json = answer.json()
        return shown


@pytest.fixture(scope="module")
def page(system: HttpsSystem) -> str:
    with system.client() as client:
        answer = client.get("/openapi", headers={"Authorization": ""})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        return answer.text


def operations(document: Json) -> list[tuple[str, str, Json]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


# -- the document


def test_the_document_is_openapi_3_1(document: Json) -> None:
    assert document["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_the_document_of_a_running_authority_is_that_which_the_tests_hold_answers_to(
    system: HttpsSystem, document: Json
) -> None:
    """But for its address."""
    expected = json.loads(json.dumps(whole_document()).replace("https://authority.test", system.url))
    assert document == expected


def test_every_operation_says_what_it_is(document: Json) -> None:
    found = operations(document)
    names = [operation["operationId"] for _, _, operation in found]
    assert len(set(names)) == len(names)
    for method, path, operation in found:
        where = f"{method} {path}"
        assert operation["summary"][0].isupper(), where
        assert operation["summary"][-1] != ".", where
        assert operation["tags"], where
        assert operation["x-codeSamples"][0]["source"].startswith("curl "), where
        assert set(operation["responses"]) >= {"413", "500", "503", "403" if path.startswith("/api/") else "401"}, where
        if "requestBody" in operation:
            [content] = operation["requestBody"]["content"].values()
            assert "example" in content, where


def test_every_declared_type_is_used_and_described(document: Json) -> None:
    """What nobody refers to has been forgotten there."""
    text = json.dumps(document)
    for name, schema in document["components"]["schemas"].items():
        assert f'"#/components/schemas/{name}"' in text, name
        assert "description" in schema or "enum" in schema, name


# -- the samples


SAME: Final = {
    "/v1/publish-tokens": "/api/publish_token",
    "/v1/subscribe-tokens": "/api/subscribe_token",
    "/v1/webhooks": "/api/webhooks",
}
"""Paths below which things have the ids that they have below another."""


class Sample:
    """A curl command of the document, run by sh, with `API_SECRET`, `APP_KEY` and `APP_SECRET` set.

    It is run as it stands, but for what only its reader can know: the ids of what was made before, the account's, and a token.
    """

    def __init__(self, system: HttpsSystem, folder: Path) -> None:
        assert shutil.which("curl"), "curl is missing; make test installs it"
        # What curl is to print besides, and whom it trusts, is said in its own file and the environment.
        (folder / ".curlrc").write_text('write-out = "\\n%{http_code} %{content_type}"\n')
        self._environment = {
            **os.environ,
            "CURL_HOME": str(folder),
            "CURL_CA_BUNDLE": str(system.certificates.authority),
            "API_SECRET": system.secret,
            "APP_KEY": "none",
            "APP_SECRET": "none",
        }
        self._account = system.account
        self._ids: dict[str, str] = {}
        self._token = "eyJ..."

    def run(self, path: str, command: str) -> tuple[str, int, str, bytes]:
        """Return the path that was asked for, status, type of the content and body; `path` has parameters."""
        asked = httpx.URL(command.partition(" -X ")[2].split()[1].strip("'")).path
        filled = "/".join(
            self._ids.get(SAME.get(below, below), shown) if part.startswith("{") else shown
            for below, part, shown in zip(_below(path), path.split("/"), asked.split("/"), strict=True)
        )
        command = command.replace(asked, filled, 1).replace("eyJ...", self._token)
        command = command.replace("ACCOUNT/", f"{self._account}/")
        ran = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, env=self._environment)
        assert ran.returncode == 0, (command, ran.stderr)
        body, _, said = ran.stdout.rpartition(b"\n")
        status, _, content_type = said.decode().partition(" ")
        return filled.replace("ACCOUNT", self._account), int(status), content_type, body

    def learn(self, path: str, body: bytes) -> None:
        """Take what was made into the commands that follow."""
        made = json.loads(body)
        made = made.get("data", made) if isinstance(made, dict) else made
        if not isinstance(made, dict):
            return
        if "id" in made or path == "/v1/verifiers":
            self._ids[path] = str(made.get("id", made.get("name")))
        if path == "/v1/applications":
            self._environment |= {"APP_KEY": made["appKey"], "APP_SECRET": made["appSecret"]}
        if str(made.get("token", "")).startswith("ey"):
            self._token = made["token"]


def _below(path: str) -> list[str]:
    """Return what comes before each part of a path."""
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(len(parts))]


def test_every_sample_runs_as_it_stands(system: HttpsSystem, document: Json, tmp_path: Path) -> None:
    """And gives what is declared. Most do what they say; the rest name what a new system has none of, and are refused."""
    answers, sample = Answers(document), Sample(system, tmp_path)
    done, refused = set(), {}
    # Last comes what takes away what others are about, from within; and the webhook: nothing is to be sent to it.
    late = ("create_webhook", "refresh_api_secret")

    def turn(found: tuple[str, str, Json]) -> int:
        method, path, operation = found
        return 100 - path.count("/") if method == "DELETE" else int(operation["operationId"] in late)

    for method, path, operation in sorted(operations(document), key=turn):
        name = operation["operationId"]
        command = operation["x-codeSamples"][0]["source"]
        asked, status, content_type, body = sample.run(path, command)
        assert status not in NO_OPERATION or str(status) in operation["responses"], (name, body)
        assert answers.operation(method, asked) == operation, name
        answers.check(method, asked, status, content_type, body)
        if status < 300:
            done.add(name)
            if method == "POST" and content_type == "application/json":
                sample.learn(path, body)
        else:
            refused[name] = body
        assert system.secret.encode() not in body
    assert {"create_publish_token", "create_subscribe_token", "list_publish_tokens", "create_webhook"} <= done
    assert {
        "read_publish_token",
        "update_publish_token_v1",
        "update_publish_token_v2",
        "disable_publish_tokens",
        "verify_splay_token",
        "update_stream_group",
        "rotate_subscribe_token",
        "revoke_children_of_trusted_key",
        "create_api_token",
        "delete_application_secret",
    } <= done
    assert len(done) > 0.8 * len(operations(document)), refused


# -- the page


class Elements(HTMLParser):
    """What a page has, and whether its elements are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.styles = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        # Rows and cells need not be closed.
        while self._open[-1] != tag and self._open[-1] in {"tr", "td", "th"}:
            self._open.pop()
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.styles += data


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    """No script, no style sheet, no font, no picture: what it has is in it, and links lead to it or to the document."""
    elements = Elements(page)
    ids = {attributes["id"] for _, attributes in elements.found if "id" in attributes}
    for tag, attributes in elements.found:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed", "base", "svg", "form"}, tag
        assert not LOADS & set(attributes), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
        href = attributes.get("href")
        if href is not None:
            assert tag in FOLLOWED_BY_HAND
            assert href == "/openapi.json" or (href[0] == "#" and href[1:] in ids), href
    assert "url(" not in elements.styles
    assert "@import" not in elements.styles
    assert "http" not in elements.styles


def test_the_page_shows_every_operation_and_every_type(document: Json, page: str) -> None:
    ids = {attributes.get("id") for _, attributes in Elements(page).found}
    assert {operation["operationId"] for _, _, operation in operations(document)} <= ids
    assert {f"type-{name}" for name in document["components"]["schemas"]} <= ids


def test_texts_of_the_document_are_texts_on_the_page(document: Json) -> None:
    """Whatever they are: an operator's address, or a description with signs of HTML in it."""
    from stagedoor.edge.page import page as made  # noqa: PLC0415

    hostile = json.loads(json.dumps(document).replace("/api/publish_token", "/api/<script>alert(1)</script>"))
    hostile["info"]["description"] = "</style><script>alert(2)</script>"
    first = next(iter(hostile["paths"].values()))["post"]
    first |= {"summary": "<b>bold</b>", "description": "`<i>`", "deprecated": True}
    tags = {tag for tag, _ in Elements(made(hostile)).found}
    assert not {"script", "b", "i"} & tags


def chromium(folder: Path, width: int, scheme: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the browser without a window."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, "chromium is missing; make test installs it"
    return subprocess.run(
        [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--ignore-certificate-errors"]
        + [f"--user-data-dir={folder / 'profile'}", f"--window-size={width},1000"]
        + [f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def size_and_first_pixel(picture: bytes) -> tuple[tuple[int, int], tuple[int, ...]]:
    """Return the size of a PNG of 8-bit colours, and its first pixel, which no filter changes."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    size = struct.unpack(">II", picture[16:24])
    data, at = b"", 8
    while at < len(picture):
        (length,) = struct.unpack(">I", picture[at : at + 4])
        if picture[at + 4 : at + 8] == b"IDAT":
            data += picture[at + 8 : at + 8 + length]
        at += length + 12
    return (size[0], size[1]), tuple(zlib.decompress(data)[1:4])


@pytest.mark.parametrize("scheme", GROUNDS)
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_in_a_browser(system: HttpsSystem, page: str, tmp_path: Path, width: int, scheme: str) -> None:
    """Narrow and wide, light and dark: it has the ground of its scheme, and nothing sticks out on the right."""
    picture = tmp_path / "page.png"
    chromium(tmp_path, width, scheme, f"--screenshot={picture}", f"{system.url}/openapi")
    assert size_and_first_pixel(picture.read_bytes()) == ((width, 1000), GROUNDS[scheme])
    # With all that folds out folded out. The page runs no script: the test puts one in to ask how wide it is.
    measured = tmp_path / "measured.html"
    measure = "<script>document.title=[innerWidth,document.documentElement.scrollWidth].join(' ')</script></body>"
    measured.write_text(page.replace("<details>", "<details open>").replace("</body>", measure))
    shown = chromium(tmp_path, width, scheme, "--dump-dom", measured.as_uri()).stdout
    found = re.search(r"<title>(\d+) (\d+)</title>", shown)
    assert found is not None
    # A browser may have a least width of its own; the picture above has the one that was asked for.
    assert int(found[2]) <= int(found[1]), found[0]
