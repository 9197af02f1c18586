"""Stagedoor: a self-hosted token authority for live streaming."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("stagedoor")
