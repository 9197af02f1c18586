"""`python -m stagedoor` is the `stagedoor` command."""

from stagedoor.cli import main

main()
