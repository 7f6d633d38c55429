"""The report of an import or export, for people."""

from __future__ import annotations

from dataclasses import dataclass, field

from headrace.plural import counted


@dataclass
class Report:
    """The results of an import so far; in a dry run, the results that it would have."""

    experiments: int = 0
    runs: int = 0
    present: int = 0  # runs that the target had already
    points: int = 0
    files: int = 0
    file_bytes: int = 0
    total_runs: int | None = 0  # None: unknown
    renumbered: list[tuple[str, str, int]] = field(default_factory=list)  # name, old id, new id
    models: int = 0  # logged models
    traces: int = 0
    registered: int = 0
    versions: int = 0
    objects_present: int = 0  # logged models, traces and versions that the target had already
    failures: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Format the counts for people."""
        present = counted(self.present, "run")
        if self.objects_present:
            present += f" and {counted(self.objects_present, 'model, version or trace', 'models, versions and traces')}"
        were = "was" if self.present + self.objects_present == 1 else "were"
        return f"{self.counts()}; {present} {were} there already"

    def counts(self) -> str:
        """Format what was written."""
        numbers = [
            counted(self.experiments, "experiment"),
            counted(self.runs, "run"),
            counted(self.points, "point"),
            f"{counted(self.files, 'file')} ({counted(self.file_bytes, 'byte')})",
        ]
        objects = (
            (self.models, "logged model"),
            (self.traces, "trace"),
            (self.registered, "registered model"),
            (self.versions, "model version"),
        )
        return ", ".join(numbers + [counted(n, noun) for n, noun in objects if n])

    def count_file(self, size: int | None) -> None:
        """Count a file of `size` bytes, if that is known."""
        self.files += 1
        self.file_bytes += size or 0

    def lines(self, *, dry_run: bool) -> list[str]:
        """Format the report for people."""
        lines = [f"{'Would import' if dry_run else 'Imported'} {self.line()}."]
        lines += [
            f"The experiment '{name}' has the id {new} instead of {old}."
            for name, old, new in self.renumbered
        ]
        return lines + [f"NOT IMPORTED: {text}" for text in self.failures]
