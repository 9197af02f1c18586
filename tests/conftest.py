"""Options of the whole suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run write the recorded hook calls anew."""
    parser.addoption("--record-hooks", action="store_true", help="write tests/vectors/hooks from this run")
