"""What the contract tests share: the data directory of a new system, made once and copied for each test."""

import shutil
from pathlib import Path

import pytest

from stagedoor.app import create_data
from stagedoor.config import Settings


@pytest.fixture(scope="session")
def blank_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a system without an account; never written to."""
    data = tmp_path_factory.mktemp("blank") / "data"
    create_data(Settings(data=data))
    return data


@pytest.fixture
def settings(blank_data: Path, tmp_path: Path) -> Settings:
    """A new system of the test's own."""
    data = tmp_path / "data"
    shutil.copytree(blank_data, data)
    return Settings(data=data)
