"""Our Token API beside a FastAPI CRUD of one table: creations and reads a second, one worker each, on SQLite."""

import asyncio
import statistics
import sys
from pathlib import Path

from bench.servers import server, uvicorn, wait_for, wrk
from stagedoor.app import administration, create_data
from stagedoor.config import Settings

PORTS = {"stagedoor": 18110, "fastapi+sqlalchemy": 18111}
CONNECTIONS = 64
READ = 200
"""How many tokens are read again and again."""

BODY = '{"label": "bench", "streams": [{"streamName": "cam"}]}'
GOAL = 2.0


def measure_crud(folder: Path, rounds: int, seconds: int) -> None:
    """Measure creations and reads, in turns."""
    print(f"\nToken API, one worker, SQLite, {rounds} rounds of {seconds} s, {CONNECTIONS} connections")
    settings = Settings(data=folder / "crud", port=PORTS["stagedoor"])
    create_data(settings)
    authorization = f"Bearer {asyncio.run(_first_secret(settings))}"
    urls = {
        "stagedoor": f"http://127.0.0.1:{PORTS['stagedoor']}/api/publish_token",
        "fastapi+sqlalchemy": f"http://127.0.0.1:{PORTS['fastapi+sqlalchemy']}/token",
    }
    ours = [sys.executable, "-m", "stagedoor", "serve", "--data", str(settings.data), "--port", str(settings.port)]
    peer = {"PEER_CRUD_DATABASE": f"sqlite:///{folder / 'crud-peer.db'}"}
    with server(ours), server(uvicorn("fastapi_crud", PORTS["fastapi+sqlalchemy"]), peer):
        wait_for(f"http://127.0.0.1:{settings.port}/readyz")
        wait_for(f"http://127.0.0.1:{PORTS['fastapi+sqlalchemy']}/openapi.json")
        figures: dict[str, dict[str, list[float]]] = {"create": {}, "read": {}}
        for _ in range(rounds):
            for what, argument in (("create", BODY), ("read", str(READ))):
                for name, url in urls.items():
                    rate = wrk("crud.lua", url, seconds, CONNECTIONS, what, argument, authorization)
                    figures[what].setdefault(name, []).append(rate)
    _print(figures)


def _print(figures: dict[str, dict[str, list[float]]]) -> None:
    print(f"{'':<10}{'stagedoor':>12}{'fastapi+sqlalchemy':>22}{'ratio':>8}{'goal':>8}")
    for what, found in figures.items():
        ours, peers = found["stagedoor"], found["fastapi+sqlalchemy"]
        ratio = statistics.median(a / b for a, b in zip(ours, peers, strict=True))
        print(
            f"{what:<10}{statistics.median(ours):>10,.0f}/s{statistics.median(peers):>20,.0f}/s{ratio:>8.1f}{f'>= {GOAL:.0f}':>8}"
        )


async def _first_secret(settings: Settings) -> str:
    async with administration(settings) as admin:
        return (await admin.accounts.create_first("bench@localhost")).api_secret.reveal()
