"""Signing keys by command: made, put in use, retired, revoked, restored."""

from pathlib import Path

from tests.e2e.test_cli_clusters import Operator


def test_an_operator_takes_a_key_through_its_life(tmp_path: Path) -> None:
    """Each step says what became of the key; a slip is one line."""
    operator = Operator(tmp_path)
    operator.get("init")
    assert operator.get("key", "list") == []
    first = operator.get("key", "make", "ES256")
    assert (first["algorithm"], first["state"]) == ("ES256", "standby")
    assert operator.get("key", "use", first["kid"][:10])["state"] == "in_use"
    second = operator.get("key", "make", "ES256")
    assert operator.get("key", "use", second["kid"])["state"] == "in_use"
    assert operator.get("key", "revoke", first["kid"])["state"] == "revoked"
    assert "cannot become in_use" in operator.refused("key", "use", first["kid"])
    assert operator.get("key", "restore", first["kid"])["state"] == "previously_used"
    assert operator.get("key", "retire", second["kid"])["state"] == "previously_used"
    assert [key["kid"] for key in operator.get("key", "list")] == [first["kid"], second["kid"]]
    assert "there is no one signing key" in operator.refused("key", "use", "nope")
