"""The keyring."""

import json
from typing import Any

import pytest

from stagedoor.model.errors import ConfigError
from stagedoor.model.secret import Secret
from stagedoor.tokens.keyring import Keyring, base64url

ONE, TWO, THREE = b"1" * 32, b"2" * 32, b"3" * 32


def _keyring(seal_with: str = "a", **keys: bytes) -> Keyring:
    return Keyring(digest_key=ONE, sealing_keys=keys or {"a": TWO}, seal_with=seal_with)


def test_what_is_sealed_opens_at_its_place(keyring: Keyring) -> None:
    """The secret comes back as it was."""
    for text in ("", "s", "caf\u00e9 \U0001f511", "x" * 10_000):
        assert keyring.unseal(keyring.seal(Secret(text), "token:1"), "token:1").reveal() == text


@pytest.mark.parametrize("place", ["token:2", "token:1 ", "", "TOKEN:1", "token:11"])
def test_what_is_sealed_does_not_open_elsewhere(keyring: Keyring, place: str) -> None:
    """A value moved to another row is an error."""
    with pytest.raises(ConfigError, match="does not open"):
        keyring.unseal(keyring.seal(Secret("s"), "token:1"), place)


def test_every_changed_byte_is_noticed(keyring: Keyring) -> None:
    """Key name, nonce, text and tag: nothing can be flipped."""
    sealed = keyring.seal(Secret("secret"), "here")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(ConfigError):
            keyring.unseal(bytes(changed), "here")


def test_every_cut_is_noticed(keyring: Keyring) -> None:
    """Shorter or longer, it does not open."""
    sealed = keyring.seal(Secret("secret"), "here")
    for cut in (*(sealed[:length] for length in range(len(sealed))), sealed + b"\x00"):
        with pytest.raises(ConfigError):
            keyring.unseal(cut, "here")


def test_sealing_twice_gives_two_values(keyring: Keyring) -> None:
    """Equal secrets do not show as equal rows."""
    assert keyring.seal(Secret("s"), "here") != keyring.seal(Secret("s"), "here")


def test_a_sealed_value_holds_no_plain_text(keyring: Keyring) -> None:
    """Neither the secret nor the place is in it."""
    sealed = keyring.seal(Secret("open sesame"), "the door")
    assert b"sesame" not in sealed
    assert b"door" not in sealed


def test_an_old_key_still_opens_and_the_new_one_seals() -> None:
    """After a change of keys both values open, and only with their own key."""
    old = _keyring(a=TWO).seal(Secret("old"), "here")
    both = _keyring("b", a=TWO, b=THREE)
    new = both.seal(Secret("new"), "here")
    assert (both.unseal(old, "here").reveal(), both.unseal(new, "here").reveal()) == ("old", "new")
    with pytest.raises(ConfigError, match="names a key"):
        _keyring(a=TWO).unseal(new, "here")


def test_another_databases_keyring_does_not_open() -> None:
    """The same name with another key is noticed."""
    with pytest.raises(ConfigError, match="does not open"):
        _keyring(a=THREE).unseal(_keyring(a=TWO).seal(Secret("s"), "here"), "here")


def test_repr_shows_names_and_no_key() -> None:
    """Neither as text, nor as hex, nor as base64."""
    shown = repr(_keyring(a=TWO, b=THREE))
    assert shown == "Keyring(sealing_keys=['a', 'b'], seal_with='a')"
    for key in (ONE, TWO, THREE):
        assert all(form not in shown for form in (key.decode(), key.hex(), base64url(key)))


def test_digests_are_keyed_and_stable() -> None:
    """The same secret has one digest with one key, and another one with another."""
    first = Keyring(digest_key=ONE, sealing_keys={"a": TWO}, seal_with="a")
    again = Keyring(digest_key=ONE, sealing_keys={"b": THREE}, seal_with="b")
    other = Keyring(digest_key=TWO, sealing_keys={"a": TWO}, seal_with="a")
    assert first.digest(b"secret") == again.digest(b"secret")
    assert first.digest(b"secret") != other.digest(b"secret")
    assert first.digest(b"secret") != first.digest(b"Secret")
    assert len(first.digest(b"")) == 32


def test_a_keyring_reads_what_it_wrote(keyring: Keyring) -> None:
    """Digests and sealed values carry over."""
    read = Keyring.load(keyring.dump())
    assert read.digest(b"x") == keyring.digest(b"x")
    assert read.unseal(keyring.seal(Secret("s"), "here"), "here").reveal() == "s"


def _damaged(**changes: Any) -> bytes:
    content = json.loads(_keyring().dump())
    for name, value in changes.items():
        if value is None:
            del content[name]
        else:
            content[name] = value
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"digest_key": "\xff"}',
        b'{"version":1,"seal_with":"\x94"}',
        b'{"version":2,"seal_with":"1","wrapped":"AAAA","\x94":1}',
        b"[" * 100_000,
        _keyring().dump()[:-1],
        _keyring().dump() + b"x",
        _damaged(digest_key=None),
        _damaged(sealing_keys=None),
        _damaged(seal_with=None),
        _damaged(digest_key="AAAA"),
        _damaged(digest_key="not base64!"),
        _damaged(digest_key=5),
        _damaged(sealing_keys={}),
        _damaged(sealing_keys={"a": "AAAA"}),
        _damaged(sealing_keys={"a": "A" * 44}),
        _damaged(seal_with="z"),
        _damaged(seal_with=1),
        _damaged(version=0),
        _damaged(version=2),
        _damaged(version="1"),
        _damaged(more=1),
    ],
)
def test_a_damaged_keyring_file_is_a_config_error(data: bytes) -> None:
    """Whatever is wrong with it, and the text does not quote it."""
    for master_key in (None, ONE):
        with pytest.raises(ConfigError) as caught:
            Keyring.load(data, master_key)
        assert "AAAA" not in caught.value.message


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_keys_have_32_bytes(length: int) -> None:
    """Both kinds, exactly."""
    with pytest.raises(ConfigError):
        Keyring(digest_key=b"k" * length, sealing_keys={"a": TWO}, seal_with="a")
    with pytest.raises(ConfigError):
        Keyring(digest_key=ONE, sealing_keys={"a": TWO, "b": b"k" * length}, seal_with="a")


@pytest.mark.parametrize("length", [1, 255])
def test_a_key_name_has_up_to_255_bytes(length: int) -> None:
    """Its length is written in one byte."""
    keyring = _keyring("n" * length, **{"n" * length: TWO})
    assert keyring.unseal(keyring.seal(Secret("s"), "p"), "p").reveal() == "s"


def test_a_longer_key_name_is_a_damaged_keyring() -> None:
    """What cannot seal is refused when it is loaded, not when the first token is made."""
    with pytest.raises(ConfigError):
        _keyring("n" * 256, **{"n" * 256: TWO})
