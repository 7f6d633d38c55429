"""The base of every exception that headrace's Python API raises."""

from __future__ import annotations


class Error(Exception):
    """An error of headrace. docs/reference/errors.md lists the kinds."""
