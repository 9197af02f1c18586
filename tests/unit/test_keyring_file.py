# ruff: noqa: D103
"""The keyring's file: sealed under a master key or not, replaced while it is in use."""

import base64
import json
import os
import shlex
import sys
from pathlib import Path

import pytest

from stagedoor.config import Settings
from stagedoor.keyring_file import KeyringFile, master_key, master_key_of_command
from stagedoor.model.errors import ConfigError
from stagedoor.model.secret import Secret
from stagedoor.tokens.keyring import Keyring, is_sealed, parse_master_key, seals_with

ONE, TWO = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))


def under(folder: Path, key: str = "") -> Settings:
    return Settings(data=folder, master_key=Secret(key))


def created(folder: Path, key: str = "") -> Keyring:
    keyring = Keyring.generate()
    KeyringFile(under(folder, key)).create(keyring)
    return keyring


def key_names(keyring: Keyring) -> list[str]:
    return sorted(keyring._keys)


# -- under a master key


def test_a_sealed_keyring_opens_with_its_master_key_and_shows_no_key(tmp_path: Path) -> None:
    """Not even the one that digests are made with; only its owner can read the file."""
    keyring = created(tmp_path, ONE)
    sealed = keyring.seal(Secret("s"), "here")
    content = (tmp_path / "keyring.json").read_bytes()
    assert set(json.loads(content)) == {"version", "seal_with", "wrapped"}
    for key in (keyring._digest_key, *keyring._keys.values()):
        assert key not in content
        assert base64.b64encode(key) not in content
        assert key not in base64.b64decode(json.loads(content)["wrapped"])
    assert (tmp_path / "keyring.json").stat().st_mode & 0o777 == 0o600
    read = KeyringFile(under(tmp_path, ONE)).open()
    assert read.unseal(sealed, "here").reveal() == "s"
    assert read.digest(b"x") == keyring.digest(b"x")


def test_two_sealings_of_a_keyring_differ() -> None:
    keyring, key = Keyring.generate(), bytes(32)
    assert keyring.dump(key) != keyring.dump(key)


def test_a_wrong_master_key_and_none_are_told_apart(tmp_path: Path) -> None:
    created(tmp_path, ONE)
    with pytest.raises(ConfigError, match="does not open with this master key"):
        KeyringFile(under(tmp_path, TWO)).open()
    with pytest.raises(ConfigError, match="set STAGEDOOR_MASTER_KEY"):
        KeyringFile(under(tmp_path)).open()


def test_a_keyring_that_is_not_sealed_is_refused_where_a_master_key_is_set(tmp_path: Path) -> None:
    """Somebody may have put it there; the words say what to do."""
    created(tmp_path)
    with pytest.raises(ConfigError, match="stagedoor master-key change"):
        KeyringFile(under(tmp_path, ONE)).open()


def test_every_changed_byte_of_a_sealed_keyring_is_noticed() -> None:
    """Also of what stands in the clear."""
    key = bytes(range(32))
    written = Keyring.generate().dump(key)
    assert is_sealed(written)
    wrapped = json.loads(written)
    for at in range(len(base64.b64decode(wrapped["wrapped"]))):
        changed = bytearray(base64.b64decode(wrapped["wrapped"]))
        changed[at] ^= 1
        with pytest.raises(ConfigError):
            Keyring.load(json.dumps(wrapped | {"wrapped": base64.b64encode(changed).decode()}).encode(), key)
    for changes in ({"seal_with": "2"}, {"version": 1}, {"version": 3}, {"wrapped": ""}, {"wrapped": 5}, {"more": 1}):
        with pytest.raises(ConfigError):
            Keyring.load(json.dumps(wrapped | changes).encode(), key)
    assert seals_with(written) == "1"


@pytest.mark.parametrize(
    "text", ["", "x", "A" * 44, base64.b64encode(bytes(31)).decode(), "\u0661" * 44, ONE[:-1], "=" * 44]
)
def test_what_is_no_master_key_is_refused_and_not_quoted(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="openssl rand -base64 32") as caught:
        parse_master_key(text)
    assert not text or len(text) < 5 or text not in caught.value.message
    if text:
        with pytest.raises(ConfigError, match="STAGEDOOR_MASTER_KEY: "):
            master_key(under(tmp_path, text))


def test_a_master_key_from_each_source(tmp_path: Path) -> None:
    """White space around it, which editors and commands add, is none of it."""
    path = tmp_path / "key"
    path.write_text(f" {ONE}\n")
    command = f"{shlex.quote(sys.executable)} -c 'print(\"{ONE}\")'"
    expected = bytes([1]) * 32
    for settings in (
        under(tmp_path, f"{ONE}\n"),
        Settings(master_key_file=path),
        Settings(master_key_command=command),
    ):
        assert master_key(settings) == expected
    assert master_key(Settings()) is None
    with pytest.raises(ConfigError, match=r"cannot read the master key from .*none"):
        master_key(Settings(master_key_file=tmp_path / "none"))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("'", "cannot be read"),
        ("   ", "is empty"),
        ("/no/such/program", "does not run"),
        (f"{sys.executable} -c 'import sys; print(\"{ONE}\"); sys.exit(3)'", "ended with status 3"),
        (f"{sys.executable} -c 'print(\"sesame\")'", "32 random bytes"),
        (f"{sys.executable} -c ''", "32 random bytes"),
        (f"echo {ONE} > /dev/null", "32 random bytes"),
    ],
)
def test_a_command_that_gives_no_master_key(command: str, words: str) -> None:
    """No shell runs it: a `>` is a word among others. What it printed is not told."""
    with pytest.raises(ConfigError, match=words) as caught:
        master_key_of_command(command)
    assert "sesame" not in caught.value.message
    assert ONE not in caught.value.message


def test_a_command_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stagedoor.keyring_file.COMMAND_SECONDS", 0.2)
    with pytest.raises(ConfigError, match=r"longer than 0\.2 seconds"):
        master_key_of_command(f"{sys.executable} -c 'import time; time.sleep(60)'")


# -- replaced while it is in use


def test_a_running_keyring_takes_a_new_key_and_keeps_the_old_one(tmp_path: Path) -> None:
    """It seals with the new one from then on, opens what others sealed with it, and what it had read before."""
    old = created(tmp_path, ONE)
    file = KeyringFile(under(tmp_path, ONE))
    running, reader = file.open(), KeyringFile(under(tmp_path, ONE)).open()
    before = running.seal(Secret("before"), "p")
    file_of_command = KeyringFile(under(tmp_path, ONE))
    new = file_of_command.read().with_new_key()
    file_of_command.replace(new)
    assert running.seal(Secret("s"), "p").startswith(new.mark)
    assert reader.unseal(new.seal(Secret("new"), "p"), "p").reveal() == "new"
    file_of_command.replace(new.without_old_keys())
    after = running.seal(Secret("after"), "p")
    assert running.unseal(before, "p").reveal() == "before"
    last = KeyringFile(under(tmp_path, ONE)).open()
    assert key_names(last) == ["2"]
    assert last.unseal(after, "p").reveal() == "after"
    with pytest.raises(ConfigError, match="names a key"):
        last.unseal(before, "p")
    assert old.mark != last.mark


def test_a_changed_master_key_lets_what_runs_go_on_until_the_sealing_key_changes(tmp_path: Path) -> None:
    """Then it must not seal any more: its key is going to be dropped, and what it sealed would be lost."""
    created(tmp_path, ONE)
    running = KeyringFile(under(tmp_path, ONE)).open()
    command = KeyringFile(under(tmp_path, ONE))
    new = command.read()
    command.replace_under(new, parse_master_key(TWO))
    assert running.unseal(running.seal(Secret("s"), "p"), "p").reveal() == "s"
    command.replace_under(new.with_new_key(), parse_master_key(TWO))
    for _ in range(2):
        with pytest.raises(ConfigError, match="restart it, its log says why"):
            running.seal(Secret("s"), "p")
    assert KeyringFile(under(tmp_path, TWO)).open().seal(Secret("s"), "p")


def test_a_master_key_that_is_changed_in_its_file_too_is_followed(tmp_path: Path) -> None:
    """Nothing has to be restarted then."""
    path = tmp_path / "key"
    path.write_text(ONE)
    settings = Settings(data=tmp_path, master_key_file=path)
    KeyringFile(settings).create(Keyring.generate())
    running = KeyringFile(settings).open()
    command = KeyringFile(settings)
    new = command.read().with_new_key()
    path.write_text(TWO)
    command.replace(new)
    assert running.seal(Secret("s"), "p").startswith(new.mark)


def test_another_systems_keyring_is_not_followed(tmp_path: Path) -> None:
    created(tmp_path)
    file = KeyringFile(under(tmp_path))
    running = file.open()
    KeyringFile(under(tmp_path)).replace(Keyring.generate())
    with pytest.raises(ConfigError, match="another system's"):
        running.seal(Secret("s"), "p")


def test_without_its_file_nothing_is_sealed_and_what_is_known_opens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    created(tmp_path)
    running = KeyringFile(under(tmp_path)).open()
    sealed = running.seal(Secret("s"), "p")
    (tmp_path / "keyring.json").unlink()
    with pytest.raises(ConfigError, match="restart it") as caught:
        running.seal(Secret("s"), "p")
    # Callers of the API are shown it; the log says which file it is.
    assert str(tmp_path) not in caught.value.message
    assert str(tmp_path) in caplog.text
    assert running.unseal(sealed, "p").reveal() == "s"


def test_what_is_written_half_takes_no_place(tmp_path: Path) -> None:
    """The rest of an interrupted run is overwritten, and a directory that cannot be written leaves all as it is."""
    created(tmp_path)
    before = (tmp_path / "keyring.json").read_bytes()
    (tmp_path / "keyring.json.new").write_text("half")
    file = KeyringFile(under(tmp_path))
    file.replace(file.read().with_new_key())
    assert not (tmp_path / "keyring.json.new").exists()
    assert (tmp_path / "keyring.json").read_bytes() != before
    (tmp_path / "keyring.json.new").mkdir()
    now = (tmp_path / "keyring.json").read_bytes()
    with pytest.raises(ConfigError, match="it is as it was"):
        file.replace(file.read().without_old_keys())
    assert (tmp_path / "keyring.json").read_bytes() == now


def test_only_one_changes_the_keyring_at_a_time(tmp_path: Path) -> None:
    first, second = KeyringFile(under(tmp_path)), KeyringFile(under(tmp_path))
    with first.locked(), pytest.raises(ConfigError, match="another command"), second.locked():
        pass
    with second.locked():
        assert os.path.exists(tmp_path / "keyring.json.lock")  # noqa: PTH110
