"""Our settings compared with the options of the installed `mlflow server`."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import click
import pytest

from headrace.settings import defaults
from headrace.settings.kinds import SettingError
from headrace.settings.load import load
from headrace.settings.table import SETTINGS

if TYPE_CHECKING:
    from pathlib import Path

OURS = {flag: setting for setting in SETTINGS for flag in setting.flags}
# One process of ours answers more than the four that stock starts.
OTHER_DEFAULTS = {"workers", "backend_store_uri"}


@pytest.fixture(scope="module")
def stock_server() -> click.Command:
    """The command as mlflow declares it; imported late, because that takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.cli import server
    return server


@pytest.fixture(scope="module")
def options(stock_server: click.Command) -> list[click.Option]:
    """Its options."""
    found = [param for param in stock_server.params if isinstance(param, click.Option)]
    assert len(found) > 20
    return found


def spellings(option: click.Option) -> set[str]:
    """`--on/--off` as one, and every short form."""
    if option.secondary_opts:
        return {f"{option.opts[0]}/{option.secondary_opts[0]}"}
    return set(option.opts)


def test_every_option_of_stock_is_accepted(options: list[click.Option]) -> None:
    """By the same flags and the same variable."""
    for option in options:
        assert spellings(option) <= set(OURS), option.name
        setting = OURS[next(iter(spellings(option)))]
        assert setting.kind.is_switch == option.is_flag, option.name
        assert not option.envvar or option.envvar in setting.env, option.name


def test_defaults_are_those_of_stock(
    options: list[click.Option], stock_server: click.Command
) -> None:
    """Except where one of ours is better, which is listed."""
    with click.Context(stock_server) as ctx:
        for option in options:
            setting = OURS[next(iter(spellings(option)))]
            if setting.name not in OTHER_DEFAULTS:
                assert (setting.default or None) == (option.get_default(ctx) or None), option.name


@pytest.mark.parametrize("serve_artifacts", [True, False])
@pytest.mark.parametrize(
    "root",
    [None, "./mlruns", "artifacts", "../up/./x", "/abs/x", "file:./a", "file:///a", "s3://b"],
)
def test_the_artifact_root_is_the_one_of_stock(
    stock_server: click.Command,
    serve_artifacts: bool,
    root: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given or not, relative or absolute."""
    from mlflow.utils.server_cli_utils import resolve_default_artifact_root
    from mlflow.utils.uri import resolve_uri_if_local

    monkeypatch.chdir(tmp_path)
    theirs = resolve_default_artifact_root(serve_artifacts, root, "sqlite:///mlflow.db")
    flags = {"serve_artifacts": serve_artifacts, "default_artifact_root": root}
    settings = load(flags, {})
    assert settings.default_artifact_root == resolve_uri_if_local(theirs)


def test_the_default_database_is_the_one_of_stock(
    stock_server: click.Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mlflow.db here; where stock would serve files instead, we refuse."""
    from mlflow.tracking._tracking_service.utils import _get_default_tracking_uri

    monkeypatch.chdir(tmp_path)
    assert defaults.default_uri() == _get_default_tracking_uri()
    for name in ("models", "0", ".trash"):
        (tmp_path / "mlruns" / name).mkdir(parents=True)
    assert defaults.default_uri() == _get_default_tracking_uri()
    (tmp_path / "mlruns" / "0" / "meta.yaml").write_text("experiment_id: '0'\n")
    assert _get_default_tracking_uri() == "./mlruns"
    with pytest.raises(SettingError):
        defaults.default_uri()
