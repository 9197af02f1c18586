"""Instants as text (RFC 3339), in UTC."""

from datetime import UTC, datetime


def instant(at: float) -> str:
    """Write seconds since the epoch, without the fraction of one."""
    return datetime.fromtimestamp(int(at), UTC).isoformat().replace("+00:00", "Z")
