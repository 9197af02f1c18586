"""Settings."""

import re
from pathlib import Path
from typing import Any

import pytest

from stagedoor.config import Settings, load
from stagedoor.model.addresses import parse_network
from stagedoor.model.errors import ConfigError
from stagedoor.model.secret import Secret

LIMITS = {
    "port": (1, 65535),
    "rtmp_port": (1, 65535),
    "hls_port": (1, 65535),
    "workers": (1, 256),
    "cache_entries": (1, 100_000_000),
}


def test_nothing_set_is_the_defaults() -> None:
    """Also beside variables of others."""
    assert load({"PATH": "/bin", "HOME": "/root", "stagedoor_port": "1"}) == Settings()


def test_no_secret_has_a_default() -> None:
    """Secrets are made, and kept in their own files. A setting may say where such a file is, or count days, and one is a key itself."""
    fields = Settings.__dataclass_fields__
    secret = {name: fields[name].type for name in fields if re.search("secret|password|key|token", name)}
    assert {name: kind for name, kind in secret.items() if kind not in (Path, int)} == {
        "master_key": Secret,
        "master_key_command": str,
    }
    assert (Settings().master_key.reveal(), Settings().master_key_command) == ("", "")


def test_the_master_key_is_never_shown() -> None:
    """Neither in the settings as text, nor in what is wrong with them."""
    settings = load({"STAGEDOOR_MASTER_KEY": "open sesame"})
    assert settings.master_key.reveal() == "open sesame"
    assert "sesame" not in repr(settings)
    with pytest.raises(ConfigError) as caught:
        load({"STAGEDOOR_MASTER_KEY": "open sesame", "STAGEDOOR_PORT": "0"})
    assert "sesame" not in caught.value.message


def test_there_is_one_master_key() -> None:
    """Two that differ would be one too many; which of them is meant is not guessed."""
    each = {
        "STAGEDOOR_MASTER_KEY": "k",
        "STAGEDOOR_MASTER_KEY_FILE": "/run/key",
        "STAGEDOOR_MASTER_KEY_COMMAND": "vault read",
    }
    for one, text in each.items():
        load({one: text})
        with pytest.raises(ConfigError, match="not several"):
            load({name: each[name] for name in each if name != one})


@pytest.mark.parametrize(
    "variable",
    ["STAGEDOOR_PROT", "STAGEDOOR_", "STAGEDOOR_port", "STAGEDOOR_PORT ", "STAGEDOOR_DATABASE_FILE", "STAGEDOOR_URL"],
)
def test_an_unknown_variable_is_an_error_that_lists_the_known_ones(variable: str) -> None:
    """Misspelt is not switched off."""
    with pytest.raises(ConfigError, match=r"is no setting; there are .*STAGEDOOR_PORT"):
        load({variable: "1"})


def test_the_environment_is_read() -> None:
    """Each variable as its own type."""
    settings = load({"STAGEDOOR_DATA": "/srv/door", "STAGEDOOR_PORT": "9090", "STAGEDOOR_HOST": "::1"})
    assert (settings.data, settings.port, settings.host) == (Path("/srv/door"), 9090, "::1")


def test_what_is_given_goes_before_the_environment() -> None:
    """None stands for not given."""
    environment = {"STAGEDOOR_PORT": "9090", "STAGEDOOR_HOST": "a"}
    settings = load(environment, port=9091, host=None)
    assert (settings.port, settings.host) == (9091, "a")


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize(
    "text",
    ["", " ", "x", "1.0", "1e3", "+1", "-1", " 1", "1 ", "1_0", "0x10", "\u0661", "\u00b2", "1\n", "\x00", "\ud800"],
)
def test_bad_numbers_are_errors_that_name_the_variable(name: str, text: str) -> None:
    """Only digits are a number."""
    with pytest.raises(ConfigError, match=rf"STAGEDOOR_{name.upper()} is .*; write a whole number"):
        load({f"STAGEDOOR_{name.upper()}": text})


def test_a_very_long_number_is_a_config_error() -> None:
    """Python's own limit on digits does not get out."""
    with pytest.raises(ConfigError):
        load({"STAGEDOOR_PORT": "1" * 5000})


@pytest.mark.parametrize("name", LIMITS)
def test_limits(name: str) -> None:
    """The first and the last are taken, one less and one more are not; from both sources."""
    least, most = LIMITS[name]
    for number in (least, most):
        given: dict[str, Any] = {name: number}
        assert getattr(load(given_environment(name, number)), name) == getattr(load({}, **given), name) == number
    for number in (least - 1, most + 1):
        given = {name: number}
        with pytest.raises(ConfigError, match=f"{name} is {number}; it goes from {least} to {most}"):
            load({}, **given)
        with pytest.raises(ConfigError, match=f"{name} is {number}; it goes from"):
            load(given_environment(name, number))


def given_environment(name: str, number: int) -> dict[str, str]:
    """Return the environment that sets one number."""
    return {f"STAGEDOOR_{name.upper()}": str(number)}


@pytest.mark.parametrize("url", ["postgresql://host/db", "sqlite://x.db", "sqlite:/x.db", "x.db", "SQLITE:///x"])
def test_other_databases_are_refused(url: str) -> None:
    """This version keeps its data in SQLite."""
    with pytest.raises(ConfigError, match="sqlite:///PATH"):
        load({"STAGEDOOR_DATABASE": url})


def test_files_are_in_the_data_directory() -> None:
    """Each has its name."""
    settings = load({"STAGEDOOR_DATA": "/d"})
    files = (settings.database_file, settings.keyring_file, settings.revision_file, settings.access_log_file)
    assert files == (Path("/d/stagedoor.db"), Path("/d/keyring.json"), Path("/d/revision"), Path("/d/access.log"))


def test_a_database_elsewhere_leaves_the_keyring_where_it_is() -> None:
    """Relative with three slashes, absolute with four."""
    assert load({"STAGEDOOR_DATABASE": "sqlite:///x.db"}).database_file == Path("x.db")
    settings = load({"STAGEDOOR_DATABASE": "sqlite:////srv/x.db"})
    assert (settings.database_file, settings.keyring_file) == (Path("/srv/x.db"), Path("var/keyring.json"))


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"host": "::1", "port": 1}, "http://[::1]:1"),
        ({"public_url": "https://door.example/"}, "https://door.example"),
        ({"tls_certificate": Path("c"), "tls_key": Path("k")}, "https://127.0.0.1:8080"),
        (
            {"tls_certificate": Path("c"), "tls_key": Path("k"), "public_url": "http://inside.example"},
            "http://inside.example",
        ),
    ],
)
def test_the_url_that_engines_are_given(given: dict[str, Any], url: str) -> None:
    """An IPv6 address is in brackets, and no slash stands at the end."""
    assert load({}, **given).url == url


def test_networks_that_webhooks_may_call() -> None:
    """None unless said; a list with commas, of which each part is a network."""
    assert load({}).callable_networks == ()
    written = " 10.1.0.0/16, 192.0.2.7,fd00::/8,"
    expected = tuple(parse_network(text) for text in ("10.1.0.0/16", "192.0.2.7", "fd00::/8"))
    assert load({"STAGEDOOR_WEBHOOK_NETWORKS": written}).callable_networks == expected
    for wrong in ("private", "10.1.0.1/16", "10.0.0.0/33", "10.1.0.0/16;10.2.0.0/16", "*"):
        with pytest.raises(ConfigError, match="webhook_networks"):
            load({"STAGEDOOR_WEBHOOK_NETWORKS": wrong})


@pytest.mark.parametrize("alone", ["STAGEDOOR_TLS_CERTIFICATE", "STAGEDOOR_TLS_KEY"])
def test_a_certificate_comes_with_its_key(alone: str) -> None:
    """Half of them is an error, and not plain HTTP."""
    both = {"STAGEDOOR_TLS_CERTIFICATE": "c.pem", "STAGEDOOR_TLS_KEY": "k.pem"}
    settings = load(both)
    assert (settings.tls_certificate, settings.tls_key, settings.tls) == (Path("c.pem"), Path("k.pem"), True)
    assert not load({}).tls
    with pytest.raises(ConfigError, match="STAGEDOOR_TLS_CERTIFICATE, STAGEDOOR_TLS_KEY"):
        load({alone: both[alone]})
