"""Measurements; `make bench` prints them. Not tests: figures, always as ratios of what ran side by side."""
