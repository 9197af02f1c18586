"""Clusters by command: made, filled with media servers, shown by the API, chosen for an account."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

STAGEDOOR = [sys.executable, "-m", "stagedoor"]
FRANKFURT = ["cluster", "add", "fra-1", "--name", "Frankfurt", "--rtmp", "rtmp.fra.example.com", "--at", "50.11,8.68"]


class Operator:
    """Runs commands on a system."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        command = [*STAGEDOOR, *arguments, "--data", str(self._data)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ)

    def get(self, *arguments: str) -> Any:
        """Return what a command prints for programs."""
        result = self.run(*arguments, "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def refused(self, *arguments: str) -> str:
        """Return the one line that a command is refused with."""
        result = self.run(*arguments)
        assert (result.returncode, result.stdout) == (1, "")
        line, *others = result.stderr.splitlines()
        assert line.startswith("stagedoor: ")
        assert others == []
        return line


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """The operator of a new system."""
    operator = Operator(tmp_path / "data")
    operator.get("init")
    return operator


def test_a_cluster_is_made_changed_filled_and_removed(operator: Operator) -> None:
    """It stays while media servers are in it."""
    added = operator.get(*FRANKFURT, "--city", "Frankfurt", "--country", "DE")
    assert {name: value for name, value in added.items() if name != "addedOn"} == {
        "clusterId": "fra-1",
        "name": "Frankfurt",
        "rtmp": "rtmp.fra.example.com",
        "srt": "",
        "city": "Frankfurt",
        "region": "",
        "country": "DE",
        "at": "50.11,8.68",
        "transcoding": False,
        "engines": [],
    }
    assert operator.get("cluster", "add", "lab")["name"] == "lab"
    changed = operator.get(
        "cluster", "set", "fra-1", "--srt", "srt.fra.example.com:10080", "--at", "-33.87,151.21", "--transcoding"
    )
    assert changed == added | {"srt": "srt.fra.example.com:10080", "at": "-33.87,151.21", "transcoding": True}
    assert operator.get("cluster", "set", "fra-1", "--at", "", "--no-transcoding")["at"] is None
    assert "another" in operator.refused("cluster", "add", "lab")
    operator.get("engine", "add", "mediamtx", "--name", "m1", "--cluster", "fra-1")
    assert "no cluster 'x'" in operator.refused("engine", "add", "mediamtx", "--name", "m2", "--cluster", "x")
    operator.get("engine", "add", "mediamtx", "--name", "m2")
    assert "no cluster 'x'" in operator.refused("engine", "set", "m2", "--cluster", "x")
    assert "cluster fra-1" in operator.run("engine", "set", "m2", "--cluster", "fra-1").stdout
    assert [cluster["engines"] for cluster in operator.get("cluster", "list")] == [["m1", "m2"], []]
    assert "fra-1" in operator.run("cluster", "list").stdout
    assert [engine["cluster"] for engine in operator.get("engine", "list")] == ["fra-1", "fra-1"]
    assert "holds m1, m2" in operator.refused("cluster", "remove", "fra-1")
    assert operator.run("engine", "remove", "m1").returncode == 0
    assert "cluster none" in operator.run("engine", "set", "m2", "--cluster", "").stdout
    assert operator.run("cluster", "remove", "fra-1").stdout == "removed fra-1\n"
    assert "no cluster 'fra-1'" in operator.refused("cluster", "remove", "fra-1")


def test_what_cannot_be_right_is_one_line(operator: Operator) -> None:
    """And nothing is made."""
    for arguments, said in (
        (("auto",), "auto and all are taken"),
        (("c", "--at", "north"), "degrees north and east"),
        (("c", "--at", "91,0"), "latitude goes from -90 to 90"),
        (("c", "--country", "nl"), "ISO 3166-1"),
        (("c", "--rtmp", "rtmp://example.com/live"), "rtmp is a host"),
    ):
        assert said in operator.refused("cluster", "add", *arguments)
    assert operator.get("cluster", "list") == []
    assert "no cluster 'c'" in operator.refused("cluster", "set", "c", "--name", "C")


def test_an_account_goes_to_a_cluster_that_there_is(operator: Operator) -> None:
    """Where any are configured; the default of an account is not removed."""
    account = operator.get("account", "list")[0]["account"]
    assert operator.get("account", "set", account, "--cluster", "phx-1")["originCluster"] == "phx-1"
    operator.get(*FRANKFURT)
    assert "there are: auto, fra-1" in operator.refused("account", "set", account, "--cluster", "phx-2")
    assert operator.get("account", "set", account, "--cluster", "fra-1")["originCluster"] == "fra-1"
    assert f"default of {account}" in operator.refused("cluster", "remove", "fra-1")
    assert operator.get("account", "set", account, "--cluster", "auto")["originCluster"] == "auto"
    assert operator.run("cluster", "remove", "fra-1").returncode == 0
