"""`headrace auth whoami`: asks a server as whom it knows the client, with the client's own settings."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Final

import click

from headrace.client.credentials import authorization_of
from headrace.settings.kinds import SettingError

CURRENT: Final = "/api/2.0/mlflow/users/current"
TIMEOUT_S: Final = 30.0
LONGEST_BODY: Final = 100_000  # bytes


@click.command()
@click.option(
    "--tracking-uri",
    metavar="URL",
    envvar="MLFLOW_TRACKING_URI",
    show_envvar=True,
    required=True,
    help="The address of the server.",
)
def whoami(tracking_uri: str) -> None:
    """Print the name under which a server knows you.

    Uses the credentials that MLflow's clients use: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or
    ~/.mlflow/credentials, or MLFLOW_TRACKING_TOKEN.
    """
    if not tracking_uri.startswith(("http://", "https://")):
        raise click.UsageError("The address of a server begins with http:// or https://.")
    request = urllib.request.Request(tracking_uri.rstrip("/") + CURRENT)
    try:
        authorization = authorization_of(os.environ)
    except SettingError as error:
        raise click.ClickException(str(error)) from error
    if authorization is not None:
        request.add_unredirected_header("Authorization", authorization)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            found = json.loads(response.read(LONGEST_BODY))["user"]
    except urllib.error.HTTPError as error:
        error.close()
        raise click.ClickException(_refusal(error.code, authorization)) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise click.ClickException(f"{tracking_uri} gives no usable answer: {error}") from error
    click.echo(f"{found['username']}{' (admin)' if found.get('is_admin') else ''}")


def _refusal(status: int, authorization: str | None) -> str:
    if status == 401 and authorization is None:
        return (
            "The server asks for a login. Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            "MLFLOW_TRACKING_TOKEN."
        )
    if status == 401:
        return "The server does not accept the user, password or token."
    if status == 404:
        return "The server has no users: anyone can do anything."
    return f"The server answers with status {status}."
