"""Our MediaMTX hook beside its peers: decisions a second, and the memory of a cached token."""

import asyncio
import hashlib
import json
import random
import secrets
import sqlite3
import statistics
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import jwt
from sqlalchemy import insert

from bench.servers import memory, server, uvicorn, wait_for, wrk
from stagedoor.app import administration, create_data, hook_url
from stagedoor.config import Settings
from stagedoor.model.engine import EngineKind
from stagedoor.model.grant import StreamPattern
from stagedoor.model.ids import AccountId
from stagedoor.model.token import TokenTerms
from stagedoor.store import schema
from stagedoor.store.codec import write_terms
from stagedoor.tokens.opaque import parse_opaque

PORTS = {"stagedoor": 18100, "constant": 18101, "fastapi+jwt": 18102, "fastapi+sql": 18103}
CONNECTIONS = 16


def measure_hooks(folder: Path, tokens: int, rounds: int, seconds: int) -> None:
    """Measure our MediaMTX hook beside its peers."""
    print(f"\nMediaMTX hook, {tokens:,} tokens, one core, {rounds} rounds of {seconds} s")
    settings, account, url, values = asyncio.run(fill(folder, tokens))
    bodies = {name: folder / f"{name}.txt" for name in PORTS}
    write_bodies(bodies["stagedoor"], account, values)
    write_bodies(bodies["constant"], account, values)
    peer_secret = secrets.token_hex(32)
    peer_values = [
        jwt.encode({"path": path_of(account, n), "action": "publish", "exp": int(time.time()) + 86400}, peer_secret)
        for n in range(min(tokens, 10_000))
    ]
    write_bodies(bodies["fastapi+jwt"], account, peer_values)
    peer_database = folder / "peer.db"
    fill_peer(peer_database, account, values)
    write_bodies(bodies["fastapi+sql"], account, values)
    environment = {"PEER_SECRET": peer_secret, "PEER_DATABASE": f"sqlite:///{peer_database}"}
    urls = {name: f"http://127.0.0.1:{port}/hook" for name, port in PORTS.items()} | {"stagedoor": url}
    with (
        server(
            [sys.executable, "-m", "stagedoor", "serve", "--data", str(settings.data), "--port", str(settings.port)]
        ) as ours,
        server(uvicorn("constant", PORTS["constant"]), environment),
        server(uvicorn("fastapi_jwt", PORTS["fastapi+jwt"]), environment),
        server(uvicorn("fastapi_sql", PORTS["fastapi+sql"]), environment),
    ):
        for target in (f"http://127.0.0.1:{settings.port}/readyz", *urls.values()):
            wait_for(target)
        for name in PORTS:
            check(urls[name], bodies[name])
        load(urls["stagedoor"], one_line(bodies["stagedoor"], folder / "one.txt"), 2)
        before = memory(ours)
        cold_rate = warm(urls["stagedoor"], bodies["stagedoor"], tokens)
        per_token = (memory(ours) - before) / tokens
        figures: dict[str, list[float]] = {name: [] for name in PORTS}
        closing: dict[str, list[float]] = {"stagedoor": [], "constant": []}
        for _ in range(rounds):
            for name in PORTS:
                figures[name].append(load(urls[name], bodies[name], seconds))
            for name, runs in closing.items():
                runs.append(load(urls[name], bodies[name], seconds, close=True))
    print_figures(figures, closing, cold_rate, per_token)


def print_figures(
    figures: dict[str, list[float]], closing: dict[str, list[float]], cold_rate: float, per_token: float
) -> None:
    """Print the table."""
    print(f"{'':<14}{'decisions/s':>12}{'stagedoor against it':>24}{'goal':>10}")
    goals = {"constant": ">= 0.7", "fastapi+jwt": ">= 4", "fastapi+sql": ">= 20"}
    for name, runs in figures.items():
        ratio = statistics.median(a / b for a, b in zip(figures["stagedoor"], runs, strict=True))
        shown = "" if name == "stagedoor" else f"{ratio:.2f}"
        print(f"{name:<14}{statistics.median(runs):>12,.0f}{shown:>24}{goals.get(name, ''):>10}")
    ratio = statistics.median(a / b for a, b in zip(closing["stagedoor"], closing["constant"], strict=True))
    print(f"a new connection for each call, as media servers make: {statistics.median(closing['stagedoor']):,.0f}/s,")
    print(f"  {ratio:.2f} of the constant answer")
    print(f"cold (each token for the first time): {cold_rate:,.0f} decisions/s")
    print(f"memory for each cached token: {per_token:,.0f} bytes (goal <= 1,024)")


async def fill(folder: Path, tokens: int) -> tuple[Settings, AccountId, str, list[str]]:
    """Make a system with many publish tokens; return how to reach it, and the tokens' texts."""
    settings = Settings(data=folder / "data", port=PORTS["stagedoor"])
    create_data(settings)
    async with administration(settings) as admin:
        account = (await admin.accounts.create_first("bench@localhost")).account
        added = await admin.engines.add(EngineKind.MEDIAMTX, "bench", AccountId(""))
        values = [secrets.token_hex(32) for _ in range(tokens)]
        rows: list[dict[str, Any]] = []
        for n, value in enumerate(values):
            terms = TokenTerms(
                label=f"token {n}", streams=(StreamPattern(f"cam-{n}"),), expires_at=int(time.time()) + 86400
            )
            rows.append(
                {
                    "account_id": account,
                    "kind": "publish",
                    "label": terms.label,
                    "terms": write_terms(terms),
                    "digest": admin.keyring.digest(parse_opaque(value) or b""),
                    "sealed": b"",
                    "added_on": 0,
                }
            )
        # Straight into the table: a hundred thousand calls would measure the disk.
        async with admin.store._writing(numbered=False) as write:  # noqa: SLF001
            await write.connection.execute(insert(schema.token), rows)
    return settings, account, hook_url(settings, EngineKind.MEDIAMTX, added.hook_secret), values


def fill_peer(database: Path, account: AccountId, values: list[str]) -> None:
    """Make the SQL peer's table."""
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(
            "CREATE TABLE peer_token (digest TEXT PRIMARY KEY, path TEXT, action TEXT, active BOOLEAN, expires_at INTEGER)"
        )
        connection.executemany(
            "INSERT INTO peer_token VALUES (?, ?, 'publish', 1, ?)",
            (
                (hashlib.sha256(value.encode()).hexdigest(), path_of(account, n), int(time.time()) + 86400)
                for n, value in enumerate(values)
            ),
        )


def path_of(account: AccountId, n: int) -> str:
    """Return the path that token `n` is for."""
    return f"{account}/cam-{n}"


def write_bodies(file: Path, account: AccountId, values: list[str]) -> None:
    """Write hook bodies, one a line, in an order of no use to any cache line."""
    lines = [
        json.dumps(
            {
                "ip": "203.0.113.7",
                "user": "",
                "password": "",
                "token": value,
                "action": "publish",
                "path": path_of(account, n),
                "protocol": "rtmp",
                "id": "6f0c12d4-0a4e-4f5e-9a53-5d4d5e1c7a10",
                "query": f"token={value}",
                "userAgent": "FMLE/3.0",
            }
        )
        for n, value in enumerate(values)
    ]
    random.shuffle(lines)
    file.write_text("\n".join(lines) + "\n")


def one_line(source: Path, target: Path) -> Path:
    """Copy the first body of `source` to `target` and return that: a load that caches one token."""
    with source.open() as lines:
        target.write_text(next(lines))
    return target


def check(url: str, bodies: Path) -> None:
    """See that a server allows what is going to be measured: a refusal is quick, and no figure."""
    with bodies.open() as lines:
        body = next(lines).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def load(url: str, bodies: Path, seconds: int, *, close: bool = False, start: int | None = None) -> float:
    """Post the bodies to `url` and return the answers a second."""
    arguments = (str(bodies), "close" if close else "keep", "" if start is None else str(start))
    return wrk("hook.lua", url, seconds, CONNECTIONS, *arguments)


def warm(url: str, bodies: Path, tokens: int) -> float:
    """Ask for every token, in order, so that all are in memory; return the decisions a second of that first pass."""
    started = time.monotonic()
    done = 0
    while done < tokens:
        # What was under way when a run ended may not have been answered: the next one begins a little before.
        done += max(int(load(url, bodies, 10, start=max(done - 2 * CONNECTIONS, 0)) * 10) - 4 * CONNECTIONS, 1)
    return done / (time.monotonic() - started)
