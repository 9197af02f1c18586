"""The scenario files: the same steps through the real authorizer and view, on every store.

A scenario is a note, tokens (the API's own bodies with a `kind`), `defaults` for its steps, and steps: an access with the reason
it must get, or a change. Times (`at`) are seconds after 2026-01-01T00:00:00Z, when the tokens are made; they stay until a
later step sets them. Account A is the tokens'; B is another one. Engines and countries stand in tests/world.py.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from stagedoor.model.decision import Reason
from tests.world import BASE, opened

FOLDER = Path(__file__).parent / "scenarios"
SCENARIOS = [
    (file.stem, scenario) for file in sorted(FOLDER.glob("*.yaml")) for scenario in yaml.safe_load(file.read_text())
]
ACCESSES = [step for _, scenario in SCENARIOS for step in scenario["steps"] if "expect" in step]

ELSEWHERE = {
    Reason.OK_ENGINE,
    Reason.ACTION_UNKNOWN,
    Reason.REQUEST_MALFORMED,
    Reason.ENGINE_UNKNOWN,
    Reason.STORE_UNAVAILABLE,
    Reason.CAVEAT_NOT_JUDGED,
}
"""Reasons that no access to a whole authority gives: they are in the tests of the hooks, and of policy alone."""


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store_kind(request: pytest.FixtureRequest) -> str:
    """The kind of store that a scenario runs on."""
    return str(request.param)


@pytest.fixture
def database(store_kind: str, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database; empty where the kind needs none."""
    return str(request.getfixturevalue("postgres_database")) if store_kind == "postgres" else ""


@pytest.mark.parametrize(
    ("file", "scenario"), SCENARIOS, ids=[f"{file}: {scenario['note']}" for file, scenario in SCENARIOS]
)
async def test_scenario(file: str, scenario: dict[str, Any], store_kind: str, database: str, tmp_path: Path) -> None:
    """Each access gets the reason the file says, warm and cold; `explain` agrees; the event tells it."""
    async with opened(store_kind, tmp_path, database) as world:
        await world.begin(scenario.get("tokens") or {})
        for number, plain in enumerate(scenario["steps"]):
            step = {**scenario.get("defaults", {}), **plain}
            if "at" in step:
                world.now = BASE + float(step["at"])
            if "expect" not in step:
                await world.change(step)
                continue
            if world.attempt(step).access.stream.account and not step.get("unexplained"):
                explained = await world.explain(step, number)
                assert _told(explained.decision) == _expected(step), (plain, explained.findings)
            # Warm, it is the same session that asks again; `once` is for starts that are counted where no session is known.
            for _ in ("cold", "warm") if not step.get("once") else ("once",):
                decision = await world.authorize(step, number)
                assert _told(decision) == _expected(step), plain
                if not step.get("running"):
                    assert world.events.kept[-1].decision == decision


def _told(decision: Any) -> tuple[str, str | None]:
    return decision.reason.value, None if decision.shadowed is None else decision.shadowed.value


def _expected(step: dict[str, Any]) -> tuple[str, str | None]:
    return step["expect"], step.get("shadowed")


def test_there_are_scenarios_enough() -> None:
    """At least three hundred accesses, and each reason that an access can get at least twice."""
    assert len(ACCESSES) >= 300
    seen = Counter(step["expect"] for step in ACCESSES)
    assert {reason for reason in Reason if reason not in ELSEWHERE and seen[reason.value] < 2} == set()
    assert set(seen) <= {reason.value for reason in Reason}
