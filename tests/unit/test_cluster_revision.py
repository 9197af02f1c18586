"""The revision that all processes share."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from stagedoor.cluster.revision import SharedRevision
from stagedoor.model.errors import ConfigError


def _stored(number: int) -> Callable[[], Awaitable[int]]:
    async def stored() -> int:
        return number

    return stored


async def test_it_begins_at_zero(tmp_path: Path) -> None:
    """A new file has announced nothing."""
    revision = SharedRevision(tmp_path / "revision")
    assert revision.read() == 0
    revision.close()


async def test_it_never_goes_back(tmp_path: Path) -> None:
    """Writers come in any order; the number is the highest."""
    revision = SharedRevision(tmp_path / "revision")
    seen = []
    for number in (5, 3, 5, 4, 6, 0, 2**63, 7):
        await revision.announce(number)
        seen.append(revision.read())
    assert seen == [5, 5, 5, 5, 6, 6, 2**63, 2**63]
    revision.close()


async def test_two_instances_on_one_file_see_each_other(tmp_path: Path) -> None:
    """At once, in both directions, and neither takes the other back."""
    one, two = SharedRevision(tmp_path / "revision"), SharedRevision(tmp_path / "revision")
    await one.announce(5)
    assert two.read() == 5
    await two.announce(9)
    assert one.read() == 9
    await one.announce(8)
    assert (one.read(), two.read()) == (9, 9)
    one.close()
    two.close()


async def test_it_outlives_its_process(tmp_path: Path) -> None:
    """The next one on the file begins where the last one ended."""
    first = SharedRevision(tmp_path / "revision")
    await first.announce(41)
    first.close()
    second = SharedRevision(tmp_path / "revision")
    assert second.read() == 41
    second.close()


@pytest.mark.parametrize("number", [0, 3, 9])
async def test_a_restart_sets_what_the_store_has(tmp_path: Path, number: int) -> None:
    """Also lower, after a restored backup."""
    revision = SharedRevision(tmp_path / "revision")
    await revision.announce(7)
    await revision.restart(_stored(number))
    assert revision.read() == number
    revision.close()


async def test_a_restart_that_fails_changes_nothing_and_lets_go(tmp_path: Path) -> None:
    """The store did not answer: the number stays, and others can announce."""

    async def fails() -> int:
        raise LookupError

    revision, other = SharedRevision(tmp_path / "revision"), SharedRevision(tmp_path / "revision")
    await revision.announce(7)
    with pytest.raises(LookupError):
        await revision.restart(fails)
    await other.announce(8)
    assert revision.read() == 8
    revision.close()
    other.close()


async def test_a_short_file_is_made_long_enough(tmp_path: Path) -> None:
    """A crash while it was made leaves nothing that stays in the way."""
    (tmp_path / "revision").write_bytes(b"")
    revision = SharedRevision(tmp_path / "revision")
    assert revision.read() == 0
    revision.close()


def test_others_cannot_read_it(tmp_path: Path) -> None:
    """The file is its owner's."""
    SharedRevision(tmp_path / "revision").close()
    assert (tmp_path / "revision").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("path", ["missing/revision", "."])
def test_a_file_that_cannot_be_written_is_a_config_error(tmp_path: Path, path: str) -> None:
    """No directory, or a directory in its place."""
    with pytest.raises(ConfigError, match="make the data directory writable"):
        SharedRevision(tmp_path / path)
