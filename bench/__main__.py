"""The figures that are promised, side by side in one run: `make bench`.

Every server runs on processor 0 and the load generator on processor 1. The servers take turns, a short run each, several
rounds; a ratio is taken within a round and the median of the rounds is printed, since the machine's own speed wanders.
"""

import argparse
import tempfile
from pathlib import Path

from bench.crud import measure_crud
from bench.decision import print_decision_figures
from bench.hooks import measure_hooks
from bench.paging import print_paging_figures
from bench.signed import print_signed_figures

PARTS = ("decision", "signed", "hooks", "crud", "paging")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--tokens", type=int, default=100_000, help="for the hooks")
    parser.add_argument("--listed", type=int, default=1_000_000, help="tokens, for the paging")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--only", choices=PARTS, action="append", help="leave out the other parts")
    options = parser.parse_args()
    parts = options.only or PARTS
    if "decision" in parts:
        print_decision_figures()
    if "signed" in parts:
        print_signed_figures()
    with tempfile.TemporaryDirectory() as folder:
        if "hooks" in parts:
            measure_hooks(Path(folder), options.tokens, options.rounds, options.seconds)
        if "crud" in parts:
            measure_crud(Path(folder), options.rounds, options.seconds)
    if "paging" in parts:
        print_paging_figures(options.listed)


if __name__ == "__main__":
    main()
