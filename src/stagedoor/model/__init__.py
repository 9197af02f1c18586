"""What things are: ids, accesses, grants, caveats, tokens, decisions, errors.

Standard library only; no clock, no I/O, no randomness. Everything here is a value.
"""
