# ruff: noqa: D103
"""Verifiers and minting by command."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest

from stagedoor.app import administration
from stagedoor.config import Settings
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId
from stagedoor.model.token import TokenKind, TokenTerms

SECRET = "the secret that LiveKit knows, 40 letters"
ADD = ["meetings", "--kind", "livekit", "--key-name", "APIexample", "--url", "wss://lk.example.com"]


class Operator:
    """Runs commands on a new system."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.account = self.get("init")["accountId"]

    def run(self, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stagedoor", *arguments, "--data", str(self.data)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ, input=said)

    def get(self, *arguments: str, said: str = "") -> Any:
        result = self.run(*arguments, "--json", said=said)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def token(self) -> tuple[int, str]:
        async def issue() -> tuple[int, str]:
            async with administration(Settings(data=self.data)) as admin:
                terms = TokenTerms(label="x", streams=(StreamPattern("cam"),))
                issued = await admin.tokens.issue(AccountId(self.account), TokenKind.SUBSCRIBE, terms)
                return issued.record.id, issued.secret.reveal()

        return asyncio.run(issue())


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path / "data")


def test_a_verifier_is_added_and_something_minted_for_it(operator: Operator) -> None:
    added = operator.run("verifier", "add", operator.account, *ADD, said=f"{SECRET}\n")
    assert added.returncode == 0, added.stderr
    listed = operator.get("verifier", "list", operator.account)
    assert [(row["name"], row["kind"], row["keyName"]) for row in listed] == [("meetings", "livekit", "APIexample")]
    assert SECRET not in added.stdout + json.dumps(listed)
    token_id, text = operator.token()
    wanted = ["mint", f"{operator.account}/cam", "--verifier", "meetings", "--action", "subscribe", "--ttl", "60"]
    by_text = operator.get(*wanted, "--token", "-", said=text)
    by_id = operator.get(*wanted, "--token-id", str(token_id))
    for minted in (by_text, by_id):
        claims = jwt.decode(minted["token"], SECRET, algorithms=["HS256"])
        assert claims["video"]["room"] == f"{operator.account}/cam"
        assert (minted["form"], minted["length"], minted["url"]) == (
            "livekit",
            len(minted["token"]),
            "wss://lk.example.com",
        )
        assert "httpHeader" in minted["carriers"]
    refused = operator.run("mint", f"{operator.account}/other", *wanted[2:], "--token", "-", said=text)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("stagedoor: stream_not_granted: ")
    assert text not in refused.stderr
    assert operator.run("verifier", "remove", operator.account, "meetings").stdout == "removed\n"
    assert operator.get("verifier", "list", operator.account) == []


def test_what_cannot_be_right_is_one_line(operator: Operator) -> None:
    for arguments, said, line in (
        (ADD, "", "the secret has 1 to"),
        (["m", "--kind", "mediamtx", "--file", "x"], "", "has no file"),
        (["n", "--kind", "secure_link", "--url", "https://h/live"], SECRET, "name the file"),
    ):
        result = operator.run("verifier", "add", operator.account, *arguments, said=said)
        assert (result.returncode, result.stdout) == (1, "")
        assert line in result.stderr
        assert SECRET not in result.stderr
    missing = operator.run(
        "mint", f"{operator.account}/cam", "--verifier", "none", "--action", "subscribe", "--token", "x"
    )
    assert missing.stderr == "stagedoor: there is no verifier 'none'\n"
