"""Calls to addresses that strangers chose, kept off everything that is not theirs to reach."""
