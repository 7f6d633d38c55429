"""The credentials that MLflow's clients send to a server."""

from __future__ import annotations

import base64
import configparser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from headrace.settings.kinds import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

CREDENTIALS: Final = "~/.mlflow/credentials"


def authorization_of(environ: Mapping[str, str]) -> str | None:
    """The header Authorization that MLflow's client would send. Raises SettingError."""
    file = _credentials_file()
    username = environ.get("MLFLOW_TRACKING_USERNAME") or file.get("mlflow_tracking_username")
    password = environ.get("MLFLOW_TRACKING_PASSWORD") or file.get("mlflow_tracking_password")
    if username and password:
        return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
    token = environ.get("MLFLOW_TRACKING_TOKEN")
    return f"Bearer {token}" if token else None


def _credentials_file() -> Mapping[str, Any]:
    parser = configparser.ConfigParser()
    try:
        parser.read(Path(CREDENTIALS).expanduser(), encoding="utf-8")
        return dict(parser["mlflow"]) if "mlflow" in parser else {}
    except (configparser.Error, UnicodeDecodeError) as error:
        # Its own text may contain the password.
        raise SettingError(f"{CREDENTIALS} is not an INI file.") from error
