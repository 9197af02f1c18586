"""Documentation says what the code does."""

import re
import subprocess
import sys
from pathlib import Path

from stagedoor.config import PREFIX, Settings
from stagedoor.model.decision import ALLOWING, Reason
from stagedoor.model.reasons import EXPLANATIONS
from stagedoor.model.scope import ALL_SCOPES

ROOT = Path(__file__).parent.parent.parent


def test_every_reason_is_documented_as_it_is() -> None:
    """docs/reasons.md has one row for each reason, with its texts; and no other row."""
    rows = re.findall(
        r"^\| `(\w+)` \| (yes|no) \| (.*?) \| (.*) \| (yes|no) \|$",
        (ROOT / "docs/reasons.md").read_text(),
        re.MULTILINE,
    )
    documented = {row[0]: row[1:] for row in rows}
    assert documented == {
        reason.value: (
            "yes" if reason in ALLOWING else "no",
            EXPLANATIONS[reason].public,
            EXPLANATIONS[reason].hint,
            "yes" if EXPLANATIONS[reason].retry else "no",
        )
        for reason in Reason
    }


def test_every_file_that_is_named_exists() -> None:
    """Paths in the architecture page and links between pages lead somewhere."""
    page = (ROOT / "docs/architecture.md").read_text()
    for path in re.findall(
        r"`((?:src|model|policy|tokens|service|store|cluster|engines|edge|live|scripts)/[\w./]*)`", page
    ):
        assert any((ROOT / base / path).exists() for base in (".", "src/stagedoor")), path
    for document in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / link).exists(), (document.name, link)


def test_every_documented_path_in_the_code_exists() -> None:
    """A docstring that names a page names one that is there."""
    for module in (ROOT / "src").rglob("*.py"):
        for page in re.findall(r"docs/[\w/.-]+\.md", module.read_text()):
            assert (ROOT / page).exists(), (module.name, page)


def test_settings_named_in_the_readme_exist() -> None:
    """Each STAGEDOOR_ variable of the README is a setting."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.__dataclass_fields__}
    assert set(re.findall(r"STAGEDOOR_[A-Z_]+[A-Z]", (ROOT / "README.md").read_text())) <= known


def test_a_start_loads_nothing_that_is_seldom_needed() -> None:
    """Migrations and clients of other servers are loaded when they are first needed."""
    code = "import sys, stagedoor.server; print(*(name in sys.modules for name in ('httpx', 'alembic', 'joserfc')))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False"] * 3


def test_make_help_lists_every_target() -> None:
    """`make help` names the targets that there are."""
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("up", "test", "check", "bench", "format", "lock", "clean", "help"):
        assert f"make {target} " in listed
    assert "make test" in (ROOT / ".ci/run").read_text()


def test_every_scope_is_documented_and_no_other() -> None:
    """docs/contracts/api-credentials.md names each in its table."""
    page = (ROOT / "docs/contracts/api-credentials.md").read_text()
    table = page[page.index("## Scopes") : page.index("## Signing keys")]
    rows = "".join(line for line in table.splitlines() if line.startswith("| `live:"))
    assert sorted(re.findall(r"`(live:[\w:*]+)`", rows)) == sorted(ALL_SCOPES)
