"""What is known of engines: where they are controlled and where they play. Kept in tests/contract."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stagedoor.model.engine import EngineKind
from stagedoor.model.errors import InvalidInput
from stagedoor.model.ids import AccountId
from stagedoor.service.engines import Engines, control_secret
from tests.world import World, opened

NGINX = EngineKind.NGINX_RTMP


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A world on SQLite."""
    async with opened("sqlite", tmp_path) as made:
        yield made


@pytest.fixture
def engines(world: World) -> Engines:
    """What can be done with its engines."""
    return Engines(store=world.store, keyring=world.keyring, clock=world.clock)


async def test_what_is_left_out_stays_and_what_is_empty_is_lifted(engines: Engines) -> None:
    """Each address by itself."""
    control, media = "http://127.0.0.1:8088", "rtmp://127.0.0.1:1935"
    added = (await engines.add(NGINX, "stage", AccountId(""), control_url=control, media_url=media)).engine
    assert (added.control_url, added.media_url) == (control, media)
    changed = await engines.set("stage", media_url="rtsps://[::1]:8322")
    assert (changed.control_url, changed.media_url) == ("http://127.0.0.1:8088", "rtsps://[::1]:8322")
    changed = await engines.set("stage", control_url="")
    assert (changed.control_url, changed.media_url) == ("", "rtsps://[::1]:8322")
    changed = await engines.set("stage", media_url="")
    assert changed.media_url == ""
    assert list(await engines.list()) == [changed]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1935",
        "127.0.0.1:1935",
        "rtmp://",
        "rtmp://user:password@127.0.0.1",
        "rtmp://127.0.0.1:1935/live",
        "rtmp://127.0.0.1:1935?x=y",
        "file:///etc/passwd",
        "rtmp://127.0.0.1'\nfile 'x",
        "rtmp://" + "a" * 500,
    ],
)
async def test_a_media_address_is_a_scheme_and_a_host(engines: Engines, url: str) -> None:
    """Of RTMP or RTSP; a path and a password have no place there, and nothing is kept."""
    with pytest.raises(InvalidInput) as caught:
        await engines.add(NGINX, "stage", AccountId(""), media_url=url)
    assert caught.value.field == "mediaUrl"
    assert list(await engines.list()) == []
    await engines.add(NGINX, "stage", AccountId(""))
    with pytest.raises(InvalidInput):
        await engines.set("stage", media_url=url)
    assert (await engines.named("stage")).media_url == ""


async def test_the_control_secret_goes_with_the_hook_secret(engines: Engines, world: World) -> None:
    """A new hook secret makes another one; it is none of the hook secret itself, and no text shows it."""
    added = await engines.add(NGINX, "stage", AccountId(""))
    expected = control_secret(world.keyring.digest, added.engine.secret_digest)
    assert added.control_secret.reveal() == expected
    assert added.control_secret.reveal() != added.hook_secret.reveal()
    renewed = await engines.renew_secret("stage")
    assert renewed.control_secret.reveal() != added.control_secret.reveal()
    assert expected not in repr(added)
