"""Recognises the kind of a source and opens it. The modules of the kinds are imported when they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from headrace.contract.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.transfer.records import Source


def _mlruns(place: str, artifact_roots: Sequence[Path] = ()) -> Source:
    from headrace.transfer.mlruns import FileStore

    return FileStore(Path(place), artifact_roots)


def _server(place: str) -> Source:
    from headrace.transfer.server import Server

    return Server(place)


def _export(place: str) -> Source:
    from headrace.transfer.exported import Export

    return Export(Path(place))


def _tensorboard(place: str) -> Source:
    from headrace.transfer.tensorboard import LogDirectory

    return LogDirectory(Path(place))


def _wandb(place: str) -> Source:
    from headrace.transfer.wandb import RunDirectory

    return RunDirectory(Path(place))


KINDS: Final[dict[str, Callable[[str], Source]]] = {
    "mlruns": _mlruns,
    "server": _server,
    "export": _export,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}


def kind_of(place: str) -> str:
    """Return the kind of a source, from its address or contents. Raises INVALID_PARAMETER_VALUE."""
    if place.startswith(("http://", "https://")):
        return "server"
    path = Path(place)
    if not path.exists():
        raise invalid(f"{place} does not exist.")
    from headrace.transfer import exported, mlruns, tensorboard, wandb

    if (path / exported.MANIFEST).is_file():
        return "export"
    if mlruns.is_file_store(path):
        return "mlruns"
    if tensorboard.is_log_directory(path):
        return "tensorboard"
    if wandb.is_run_directory(path):
        return "wandb"
    raise invalid(
        f"{place} is none of these: an mlruns directory, an export of headrace, a directory with event "
        "files of TensorBoard or runs of W&B, the address of a server."
    )


def _check_kind(place: str, kind: str) -> None:
    from headrace.transfer import mlruns, tensorboard, wandb

    path = Path(place)
    if not path.exists():
        raise invalid(f"{place} does not exist.")
    found, contents = {
        "mlruns": (mlruns.is_file_store, "experiments of a file store"),
        "tensorboard": (tensorboard.is_log_directory, "event files of TensorBoard"),
        "wandb": (wandb.is_run_directory, "runs of W&B"),
    }[kind]
    if not found(path):
        raise invalid(f"{place} has no {contents}.")


def open_source(place: str, kind: str | None = None, artifact_roots: Sequence[Path] = ()) -> Source:
    """Open a source. Raises `headrace.Error` if it is not of this kind.

    `artifact_roots`: directories besides `place` where artifacts of an `mlruns` directory may be read.
    """
    if kind in ("mlruns", "tensorboard", "wandb"):
        _check_kind(place, kind)
    kind = kind or kind_of(place)
    return _mlruns(place, artifact_roots) if kind == "mlruns" else KINDS[kind](place)
