# ruff: noqa: D103
"""Both issuing libraries, Python's and JavaScript's, write the tokens of tests/vectors/signed to the byte."""

import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stagedoor.sign import RESTRICTIONS, carriers, sign_child
from stagedoor.tokens.carriers import carriers as authority_carriers

FOLDER = Path(__file__).parent / "signed"
JAVASCRIPT = Path(__file__).parent.parent.parent / "clients/javascript"
RUNNER = Path(__file__).parent / "sign_each.mjs"
SIGNED = [
    vector
    for path in sorted(FOLDER.glob("*.json"))
    if path.stem != "refused"
    for vector in json.loads(path.read_text())
]
REFUSED = json.loads((FOLDER / "refused.json").read_text())
PARENT = "d2e166fdda89824a6c493d8a2af7a0754199eff9e38c579cba8783767a44039c"
HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
OF_PYTHON = {
    "tokenId": "token_id",
    "streamName": "stream_name",
    "expiresAt": "expires_at",
    "issuedAt": "issued_at",
    "notBefore": "not_before",
}


def in_python(parent: str, child: dict[str, Any]) -> str:
    return sign_child(parent, **{OF_PYTHON.get(name, name): value for name, value in child.items()})


def in_javascript(questions: Sequence[tuple[str, dict[str, Any]]], *options: str) -> list[str | None]:
    node = shutil.which("node")
    assert node, "node is missing; make test installs it"
    asked = json.dumps(questions)
    result = subprocess.run([node, *options, str(RUNNER)], input=asked, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    answers: list[str | None] = json.loads(result.stdout)
    return answers


@pytest.mark.parametrize("vector", SIGNED, ids=lambda vector: vector["name"])
def test_python_signs_what_the_vector_says(vector: dict[str, Any]) -> None:
    assert in_python(vector["parent"], vector["child"]) == vector["token"]


@pytest.mark.parametrize("vector", SIGNED, ids=lambda vector: vector["name"])
def test_the_token_of_a_vector_is_what_it_says(vector: dict[str, Any]) -> None:
    """By the standard library alone, and by PyJWT."""
    header, payload, signature = vector["token"].split(".")
    algorithm = vector["child"].get("algorithm", "HS256")
    assert raw(header).decode() == f'{{"alg":"{algorithm}","typ":"JWT"}}'
    assert raw(payload).decode() == vector["payload"]
    expected = hmac.new(vector["parent"].encode(), f"{header}.{payload}".encode(), HASHES[algorithm]).digest()
    assert raw(signature) == expected
    options: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
    claims = jwt.decode(vector["token"], vector["parent"], algorithms=[algorithm], options=options)
    assert claims == json.loads(vector["payload"])


@pytest.mark.parametrize("options", [[], ["--no-experimental-global-webcrypto"]], ids=["as it is", "as Node 18 is"])
def test_javascript_signs_what_the_vectors_say(options: list[str]) -> None:
    signed = in_javascript([(vector["parent"], vector["child"]) for vector in SIGNED], *options)
    for token, vector in zip(signed, SIGNED, strict=True):
        assert token == vector["token"], vector["name"]


@pytest.mark.parametrize("vector", REFUSED, ids=lambda vector: vector["name"])
def test_python_refuses_what_the_authority_would(vector: dict[str, Any]) -> None:
    """With words, and without the parent in them."""
    with pytest.raises(ValueError, match=r"\w+ \w+") as caught:
        in_python(vector["parent"], vector["child"])
    assert len(vector["parent"]) < 32 or vector["parent"][:32] not in str(caught.value)


def test_javascript_refuses_the_same() -> None:
    answers = in_javascript([(vector["parent"], vector["child"]) for vector in REFUSED])
    let_in = [vector["name"] for vector, answer in zip(REFUSED, answers, strict=True) if answer is not None]
    assert let_in == []


def test_both_know_the_room_that_the_authority_knows() -> None:
    """At every length at which it changes, for short names and long ones."""
    asked = [
        (length, name)
        for name in (1, 3, 60, 128)
        for limit in (128, 255, 512, 2048, 8192)
        for length in range(max(0, limit - name - 30), limit + 2)
    ]
    known = [[str(carrier) for carrier in authority_carriers(length, name)] for length, name in asked]
    assert [list(carriers("x" * length, "n" * name)) for length, name in asked] == known
    code = f"""import {{ carriers }} from '{JAVASCRIPT / "stagedoor-sign.mjs"}';
      const asked = {json.dumps(asked)};
      console.log(JSON.stringify(asked.map(([length, name]) => carriers('x'.repeat(length), 'n'.repeat(name)))))"""
    command = ["node", "--input-type=module", "--eval", code]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert json.loads(shown) == known


def test_every_restriction_has_a_vector() -> None:
    written = {name for vector in SIGNED for name in vector["child"]}
    assert set(RESTRICTIONS) <= written
    refused = {vector["name"].split(" ")[0] for vector in REFUSED}
    assert set(RESTRICTIONS) <= refused


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  the library's name
        """Write nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A site with the module and a page that signs all vectors and writes down what is not as it should be."""
    folder = tmp_path / "site"
    folder.mkdir()
    shutil.copy(JAVASCRIPT / "stagedoor-sign.mjs", folder / "stagedoor-sign.mjs")
    (folder / "signed.json").write_text(json.dumps([SIGNED, REFUSED]))
    (folder / "index.html").write_text("""<!doctype html><title>waiting</title><script type="module">
      import { signChild } from './stagedoor-sign.mjs';
      const [signed, refused] = await (await fetch('signed.json')).json();
      let right = 0;
      for (const { parent, child, token } of signed) if ((await signChild(parent, child)) === token) right += 1;
      for (const { parent, child } of refused) await signChild(parent, child).catch(() => (right += 1));
      document.title = `right: ${right}`;
    </script>""")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/index.html"
    server.shutdown()
    server.server_close()


def test_a_browser_signs_the_same(site: str, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert browser, "chromium is missing; make test installs it"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--virtual-time-budget=60000", "--dump-dom", site]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    title = re.search(r"<title>(.*?)</title>", shown)
    assert title is not None
    assert title[1] == f"right: {len(SIGNED) + len(REFUSED)}"


def test_the_examples_of_the_page_run(tmp_path: Path) -> None:
    """Both make the same token but for its random name, and it is good for what the page says."""
    page = (JAVASCRIPT.parent / "README.md").read_text()
    [python] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    [javascript] = re.findall(r"```js\n(.*?)```", page, re.DOTALL)
    (tmp_path / "example.py").write_text(python)
    (tmp_path / "example.mjs").write_text(javascript)
    shutil.copy(JAVASCRIPT / "stagedoor-sign.mjs", tmp_path)
    environment = {**os.environ, "PARENT_TOKEN": PARENT}
    claims = []
    for command in ([sys.executable, "example.py"], ["node", "example.mjs"]):
        result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, result.stderr
        claims.append(jwt.decode(result.stdout.strip(), PARENT, algorithms=["HS256"]))
    for claim in claims:
        assert 500 < claim.pop("exp") - time.time() <= 600
        assert len(claim.pop("jti")) == 16
    assert claims[0] == claims[1]
    assert claims[0]["streaming"]["allowedIpAddresses"] == ["192.0.2.7"]


# -- Python's own ways


def test_names_in_pythons_way_make_the_same_token() -> None:
    """At every depth; both ways at once are an error."""
    common: dict[str, Any] = {"token_id": 1, "stream_name": "a", "expires_at": 9, "jti": ""}
    hours = {"timeZone": "UTC", "windows": [{"days": ["mon"], "from": "01:00", "to": "02:00"}]}
    one = sign_child(PARENT, **common, allowedIpAddresses=["::1"], hours=hours, singleUse={"graceSeconds": 1})
    hours["time_zone"] = hours.pop("timeZone")
    two = sign_child(PARENT, **common, allowed_ip_addresses=["::1"], hours=hours, single_use={"grace_seconds": 1})
    assert one == two
    with pytest.raises(ValueError, match="allowedOrigins is given twice"):
        sign_child(PARENT, **common, allowed_origins=["a"], allowedOrigins=["b"])


def test_a_child_has_a_name_of_its_own_unless_told_otherwise() -> None:
    """Random: no two are the same."""
    tokens = {sign_child(PARENT, token_id=1, stream_name="a", expires_at=9) for _ in range(50)}
    names = {json.loads(raw(token.split(".")[1]))["jti"] for token in tokens}
    assert len(names) == 50
    assert all(re.fullmatch(r"[\w-]{16}", name) for name in names)
    answers = in_javascript([(PARENT, {"tokenId": 1, "streamName": "a", "expiresAt": 9})] * 50)
    others = {json.loads(raw(str(token).split(".")[1]))["jti"] for token in answers}
    assert len(others | names) == 100
    assert all(re.fullmatch(r"[\w-]{16}", name) for name in others)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(ValueError, match="half a character"):
        sign_child(PARENT, token_id=1, stream_name="a", expires_at=9, subject="\ud800")


def test_the_module_can_be_copied(tmp_path: Path) -> None:
    """It loads nothing but the standard library, and nothing of ours."""
    shutil.copy(JAVASCRIPT.parent.parent / "src/stagedoor/sign.py", tmp_path / "sign.py")
    code = "import sign, sys; print(sorted({n.partition('.')[0] for n in sys.modules} - set(sys.stdlib_module_names)))"
    command = [sys.executable, "-S", "-c", code]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert printed.strip() in {"['__main__', 'sign']", "['sign']"}


def raw(text: str) -> bytes:
    """Decode unpadded base64url."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# -- both agree on whatever they are given

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
odd = st.none() | st.booleans() | st.integers(-2, 2**54) | st.floats(allow_nan=False, allow_infinity=False) | texts
networks = st.ip_addresses().map(str) | st.sampled_from(
    [
        "10.0.0.0/8",
        "10.0.0.1/8",
        "::/0",
        "::1/0",
        "1::2:3",
        "::1.2.3.4",
        "1:2::/32",
        "1.2.3.4/32",
        "1.2.3.4/33",
        "/",
        ":",
    ]
)
ipv6_pieces = st.lists(st.sampled_from(["::", ":", "0", "1", "ab", "FFFF", "12345", "1.2.3.4", "/", "64"]), max_size=12)
origins = st.text("aA1-_.*:/[]", max_size=14) | st.sampled_from(
    ["https://a.b", "*.a.b:80", "[::1]", "a", "http://a:99999"]
)
entries = networks | ipv6_pieces.map("".join) | origins | texts | st.sampled_from(["PL", "hls", "mon", "*", "a*b"])
clocks = st.sampled_from(["00:00", "09:30", "23:59", "24:00", "24:01", "9:30", ""])
windows = st.fixed_dictionaries(
    {"days": st.lists(st.sampled_from(["mon", "sun", "x"]), max_size=3), "from": clocks, "to": clocks}
)
small = st.integers(-1, 130)
objects = st.dictionaries(
    st.sampled_from(
        ["most", "per", "over", "graceSeconds", "ipv4Prefix", "ipv6Prefix", "rebindsPerHour", "bytes", "starts"]
        + ["trackingId", "timeZone", "windows", "watchSeconds", "sessionSeconds", "other"]
    ),
    small | st.sampled_from(["token", "subject", "grace", "refuse", "UTC"]) | st.lists(windows, max_size=2) | odd,
    max_size=4,
)
good = {
    "allowedOrigins": st.lists(origins, max_size=3),
    "allowedIpAddresses": st.lists(networks | ipv6_pieces.map("".join), max_size=3),
    "hours": st.fixed_dictionaries({"timeZone": texts, "windows": st.lists(windows, max_size=2)}),
    "tracking": st.none() | st.fixed_dictionaries({"trackingId": texts}),
    "customViewerData": texts,
    "subject": texts,
    "bindTolerance": st.dictionaries(
        st.sampled_from(["ipv4Prefix", "ipv6Prefix", "rebindsPerHour"]), small, max_size=3
    ),
    "sessionLimit": st.fixed_dictionaries(
        {"most": small},
        optional={"over": st.sampled_from(["grace", "refuse"]), "graceSeconds": small, "per": st.just("subject")},
    ),
    "budgets": st.dictionaries(st.sampled_from(["bytes", "starts", "watchSeconds"]), small, max_size=3),
    "allowWithoutOrigin": st.booleans(),
    "allowedUserAgents": st.lists(texts, max_size=3),
}
plain = st.fixed_dictionaries({}, optional=good)
strange = st.dictionaries(
    st.sampled_from([*RESTRICTIONS, "other"]), odd | st.lists(entries, max_size=3) | objects, min_size=1, max_size=2
)
names = st.text("abc/.-_~0", min_size=1, max_size=6) | texts
children = st.tuples(
    st.sampled_from([PARENT, next(vector["token"] for vector in SIGNED if vector["name"] == "HS256"), "nothing"]),
    st.builds(
        lambda fixed, one, other: {**fixed, **one, **other},
        st.fixed_dictionaries(
            {
                "tokenId": st.just(7) | st.just(8),
                "streamName": st.just("cam-7") | names,
                "expiresAt": st.integers(100, 2**40),
                "jti": texts,
            },
            optional={
                "issuedAt": st.integers(0, 120),
                "notBefore": st.integers(0, 120),
                "algorithm": st.sampled_from([*HASHES, "none"]),
            },
        ),
        plain,
        st.just({}) | strange,
    ),
)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(children, min_size=100, max_size=200))
def test_python_and_javascript_agree(questions: list[tuple[str, dict[str, Any]]]) -> None:
    """They sign the same, or both refuse; floats that are whole numbers aside, which JSON gives JavaScript as numbers."""
    asked = [(parent, child) for parent, child in questions if not whole_floats(child)]
    for (parent, child), theirs in zip(asked, in_javascript(asked), strict=True):
        try:
            ours: str | None = in_python(parent, child)
        except ValueError:
            ours = None
        assert ours == theirs, (parent, child)


def whole_floats(value: Any) -> bool:
    if isinstance(value, dict):
        return any(whole_floats(each) for each in value.values())
    if isinstance(value, list):
        return any(whole_floats(each) for each in value)
    return isinstance(value, float) and value.is_integer()
