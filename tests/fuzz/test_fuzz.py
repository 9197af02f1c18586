"""The parsers hold against 1,000,000 inputs that look for new ways through them."""

import os
import re
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "fuzz_parsers.py"
RUNS = 1_000_000


def test_a_million_inputs_raise_nothing_else() -> None:
    """Each parser has its share of them."""
    result = subprocess.run([sys.executable, str(PROGRAM), str(RUNS)], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-6000:]
    done = [int(number) for number in re.findall(r"^Done (\d+) in", result.stderr, re.MULTILINE)]
    told = re.findall(r"^([\w-]+): (\d+) inputs, status 0$", result.stdout, re.MULTILINE)
    assert [int(number) for _, number in told] == done
    assert sum(done) == RUNS
    assert min(done) >= 50_000


def test_what_gets_out_of_a_parser_ends_it(tmp_path: Path) -> None:
    """With one that lets an error through for what is not among the seeds, so that it has to be looked for."""
    code = """
import sys, fuzz_parsers

def broken(data):
    if data.count(b"(") > 1:
        raise KeyError("got out")

fuzz_parsers.PARSERS["pattern"] = broken
sys.argv = ["fuzz", "100000", "pattern"]
fuzz_parsers.main()
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "TMPDIR": str(tmp_path),
            "PYTHONPATH": os.pathsep.join([str(PROGRAM.parent), os.environ.get("PYTHONPATH", "")]),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode != 0
    assert "KeyError: 'got out'" in result.stdout + result.stderr
