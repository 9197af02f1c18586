"""The scenario files: the same steps through the real authorizer and view, on every store.

A scenario is a note, tokens (the API's own bodies with a `kind`), `engines` that call by hook, `defaults` for its steps, and
steps: an access or an engine's call (`hook`) with the reason it must get, or a change, with the field for which it is
`refused` if it is. A call's answer is in keeping with its reason unless `status` or `text` says otherwise; `untold` is one that
the access log says nothing of. Times (`at`) are seconds after 2026-01-01T00:00:00Z, when the tokens are made; they stay until a
later step sets them. Account A is the tokens'; B is another one. Engines and countries stand in tests/world.py.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from stagedoor.model.decision import ALLOWING, Reason
from stagedoor.model.errors import InvalidInput, Unavailable
from tests.world import BASE, World, opened

FOLDER = Path(__file__).parent / "scenarios"
SCENARIOS = [
    (file.stem, scenario) for file in sorted(FOLDER.glob("*.yaml")) for scenario in yaml.safe_load(file.read_text())
]
ACCESSES = [step for _, scenario in SCENARIOS for step in scenario["steps"] if "expect" in step]


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
        await world.begin(scenario.get("tokens") or {}, scenario.get("engines", ()))
        for number, plain in enumerate(scenario["steps"]):
            step = {**scenario.get("defaults", {}), **plain}
            if "at" in step:
                world.now = BASE + float(step["at"])
            if "expect" not in step:
                await _change(world, step)
                continue
            if "hook" in step:
                await _call(world, step)
                continue
            await _explain(world, step, number)
            # Warm, it is the same session that asks again; `once` is for starts that are counted where no session is known.
            for _ in ("cold", "warm") if not step.get("once") else ("once",):
                decision = await world.authorize(step, number)
                assert _told(decision) == _expected(step), plain
                if not step.get("running"):
                    assert world.events.kept[-1].decision == decision


async def _change(world: World, step: dict[str, Any]) -> None:
    if "refused" not in step:
        await world.change(step)
        return
    with pytest.raises(InvalidInput) as refusal:
        await world.change(step)
    assert refusal.value.field == step["refused"]


async def _explain(world: World, step: dict[str, Any], number: int) -> None:
    """See that `explain` says what will be decided, where it can: it needs an account, and the store."""
    if not world.attempt(step).access.stream.account or step.get("unexplained"):
        return
    if world.link.cut:
        with pytest.raises(Unavailable):
            await world.explain(step, number)
        return
    explained = await world.explain(step, number)
    assert _told(explained.decision) == _expected(step), (step, explained.findings)


async def _call(world: World, step: dict[str, Any]) -> None:
    """See that an engine is answered by the reason, the same on both ways, and that the access log tells it each time."""
    reason = Reason(step["expect"])
    statuses = dict.fromkeys(ALLOWING, 200) | {Reason.STORE_UNAVAILABLE: 503}
    status = step.get("status", statuses.get(reason, 403))
    text = step.get("text", "ok" if reason in ALLOWING else reason.value)
    before = len(world.events.kept)
    answers = await world.call(step)
    assert set(answers) == {(status, text)}, step
    told = [event.decision.reason for event in world.events.kept[before:]]
    assert told == ([] if step.get("untold") else [reason] * len(answers)), step


def _told(decision: Any) -> tuple[str, str | None]:
    return decision.reason.value, None if decision.shadowed is None else decision.shadowed.value


def _expected(step: dict[str, Any]) -> tuple[str, str | None]:
    return step["expect"], step.get("shadowed")


def test_there_are_scenarios_enough() -> None:
    """At least three hundred accesses, and each reason that there is at least twice."""
    assert len(ACCESSES) >= 300
    seen = Counter(step["expect"] for step in ACCESSES)
    assert {reason for reason in Reason if seen[reason.value] < 2} == set()
    assert set(seen) <= {reason.value for reason in Reason}
