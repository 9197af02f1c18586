"""How commands print: for programs as JSON, whose names are API, and for people in words and tables."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from stagedoor.policy import Finding
    from stagedoor.service.explain import Explained


def print_fields(fields: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing: each of its fields on a line, and one that has lines of its own below its name."""
    if as_json:
        typer.echo(json.dumps(fields))
        return
    width = max(len(name) for name in fields)
    for name, value in fields.items():
        text = words(value)
        typer.echo(f"{name}\n{text}" if "\n" in text else f"{name:<{width}}  {text}")


def print_rows(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print several things of one kind."""
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        _table(columns, rows)


def print_explained(explained: "Explained", *, as_json: bool) -> None:
    """Print a decision, and every rule that was looked at."""
    from stagedoor.model.reasons import EXPLANATIONS  # noqa: PLC0415

    decision, text = explained.decision, EXPLANATIONS[explained.decision.reason]
    if as_json:
        content = {
            "decision": {
                "allowed": decision.allowed,
                "reason": decision.reason,
                "shadowed": decision.shadowed,
                "publicText": text.public,
                "hint": text.hint,
                "retry": text.retry,
                "revision": decision.revision,
            },
            "tokenId": explained.token_id,
            "rules": [
                {
                    "rule": finding.rule,
                    "saw": finding.saw,
                    "reason": finding.reason,
                    "refuses": finding.refuses,
                    "decisive": finding.decisive,
                    "tried": finding.tried,
                }
                for finding in explained.findings
            ],
        }
        typer.echo(json.dumps(content))
        return
    typer.echo(f"{'ALLOWED' if decision.allowed else 'REFUSED'}: {decision.reason}. {text.hint}")
    if decision.shadowed is not None:
        typer.echo(f"SHADOW MODE: would be refused, {decision.shadowed}. {EXPLANATIONS[decision.shadowed].hint}")
    rows = [
        {
            "": "->" if finding.decisive else "",
            "rule": finding.rule.value,
            "saw": finding.saw,
            "verdict": _verdict(finding),
        }
        for finding in explained.findings
    ]
    _table(("", "rule", "saw", "verdict"), rows)


def words(value: Any) -> str:
    """Return a field's value as a person reads it; a dash is nothing."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {times}" for name, times in value.items()) or "-"
    if isinstance(value, list):
        return " ".join(value) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def _verdict(finding: "Finding") -> str:
    if finding.reason is None:
        return "passes"
    return f"{finding.reason} (tried out)" if finding.tried else finding.reason.value


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(words(row[column])) for column in columns))
    # Piped, nothing is cut off to fit a terminal that is not there.
    console = Console() if sys.stdout.isatty() else Console(width=400)
    console.print(table)
