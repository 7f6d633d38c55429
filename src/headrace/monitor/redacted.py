"""Exceptions in a form that may be logged: texts of drivers and decoders hold values of the request."""

from __future__ import annotations


class RedactedError(Exception):
    """Stands for another exception in the log: its type and its traceback, without its text."""


def redacted(error: BaseException) -> RedactedError:
    """The exception and its causes without their texts; of an OSError the system's message stays."""
    text = f"{type(error).__module__}.{type(error).__qualname__}"
    if isinstance(error, OSError) and error.strerror:
        text += f": {error.strerror}"
    shown = RedactedError(text).with_traceback(error.__traceback__)
    cause = error.__cause__ or error.__context__
    if cause is not None and cause is not error:
        shown.__cause__ = redacted(cause)
    return shown
