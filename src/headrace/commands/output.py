"""Output of the commands: tables, reports, errors and progress."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, Final

import click

from headrace.settings.kinds import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROGRESS_S: Final = 0.2
BAR_CELLS: Final = 24


class ProgressBar:
    """A progress bar on stderr; nothing if stderr is not a terminal."""

    def __init__(self) -> None:
        self._shown_s = 0.0
        self._is_terminal = sys.stderr.isatty()

    def show(self, done: int, total: int, text: str) -> None:
        """Draw the bar, at most every PROGRESS_S. `total` may be an estimate that `done` exceeds."""
        if self._is_terminal and monotonic() - self._shown_s > PROGRESS_S:
            self._shown_s = monotonic()
            share = min(1.0, done / total) if total else 1.0
            full = round(share * BAR_CELLS)
            bar = "#" * full + "-" * (BAR_CELLS - full)
            click.echo(f"\r\x1b[K[{bar}] {share:4.0%}  {text}", err=True, nl=False)

    def end(self) -> None:
        """Clear the line."""
        if self._shown_s:
            click.echo("\r\x1b[K", err=True, nl=False)


def print_or_explain(command: Callable[[], list[str]]) -> None:
    """Print the lines that a command returns, or turn its error into click's exception.

    A SettingError ends the process with exit code 2, an error of the database with 1.
    """
    # These imports load SQLite's and the schema's modules, which `--version` and `config` do not need.
    from headrace.db.errors import DatabaseError
    from headrace.db.schema.facts import UnusableDatabase

    try:
        for line in command():
            click.echo(line)
    except SettingError as exc:
        raise click.UsageError(str(exc)) from exc
    except (UnusableDatabase, DatabaseError) as exc:
        raise click.ClickException(str(exc)) from exc


def print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print aligned columns without trailing spaces."""
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]
    for row in [head, *rows]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())
