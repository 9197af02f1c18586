"""TCP ports for the servers of tests."""

import itertools
import os
import socket
from typing import Final

HOST: Final = "127.0.0.1"
_FIRST: Final = 10_000
_RUNS: Final = 200
_EACH: Final = 100
"""Ports below those that the system gives to clients; tests in several processes start at different ones."""

_numbers: Final = itertools.count(os.getpid() % _RUNS * _EACH)


def free_port() -> int:
    """Return a port on which nothing listens, and that this process is not given again."""
    for number in _numbers:
        port = _FIRST + number % (_RUNS * _EACH)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise AssertionError
