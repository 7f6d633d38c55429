"""`headrace crypto`: the passphrase that protects the secrets of the AI gateway.

Imports inside functions keep the other commands, such as `headrace --version`, fast.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from headrace.commands.options import DATABASE, resolve
from headrace.commands.output import print_or_explain
from headrace.settings.defaults import default_uri
from headrace.settings.kinds import SettingError

if TYPE_CHECKING:
    from headrace.db.upkeep.secrets import Rotated

PASSPHRASE = "MLFLOW_CRYPTO_KEK_PASSPHRASE"
VERSION = "MLFLOW_CRYPTO_KEK_VERSION"


@click.group()
def crypto() -> None:
    """Change the passphrase that protects the secrets of the AI gateway."""


@crypto.command(name="rotate-kek")
@DATABASE
@click.option(
    "--backend-store-uri", metavar="URI", help="Another way to give URI, as in `mlflow crypto`."
)
@click.option(
    "--new-passphrase",
    prompt=True,
    hide_input=True,
    confirmation_prompt=True,
    help="The new passphrase. Without the option the command asks for it, which keeps it out of the "
    "list of processes.",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
def rotate_kek(
    uri: str | None, backend_store_uri: str | None, new_passphrase: str, yes: bool
) -> None:
    """Protect the secrets in a database with a new passphrase, as `mlflow crypto rotate-kek` is meant to.

    First stop all servers. MLFLOW_CRYPTO_KEK_PASSPHRASE and MLFLOW_CRYPTO_KEK_VERSION have the
    servers' current values. Afterwards give the servers the new passphrase and the next version. All secrets of
    the old version change in one transaction; if one cannot be read, none does.
    """
    settings = resolve({}).settings
    version = settings.crypto_kek_version
    if not new_passphrase:
        raise click.UsageError("The new passphrase must not be empty.")
    if not yes:
        click.confirm(
            f"All servers must be stopped. Rotate the secrets of version {version}?", abort=True
        )

    def lines() -> list[str]:
        old = settings.crypto_kek_passphrase
        found = asyncio.run(
            _rotated(backend_store_uri or uri or default_uri(), old, new_passphrase, version)
        )
        return _report(found, version, has_passphrase=bool(old))

    print_or_explain(lines)


async def _rotated(uri: str, old: str, new: str, version: int) -> Rotated:
    from headrace.contract.envelope import derive
    from headrace.contract.errors import ApiError
    from headrace.db.upkeep.access import opened
    from headrace.db.upkeep.secrets import OtherKey, rotate

    try:
        async with opened(uri) as db:
            if not db.schema.has("secrets"):
                raise SettingError("The database has no table for secrets.")
            keys = derive(old, version), derive(new, version + 1)
            return await db.write(rotate, *keys, version)
    except OtherKey as error:
        raise SettingError(
            f"The secret '{error}' cannot be read with version {version} of the passphrase. "
            f"Check {PASSPHRASE} and {VERSION}. Nothing was changed."
        ) from error
    except ApiError as error:  # the package for the encryption is not installed
        raise SettingError(error.message) from error


def _report(found: Rotated, version: int, *, has_passphrase: bool) -> list[str]:
    lines = []
    if not has_passphrase:
        lines.append(f"{PASSPHRASE} is not set: the old passphrase is MLflow's public one.")
    for other, count in found.others.items():
        lines.append(f"Secrets of version {other}, which are as before: {count}.")
    if not found.secrets:
        return [*lines, f"There is no secret of version {version}. Nothing was changed."]
    return [
        *lines,
        f"Secrets that have version {version + 1} instead of {version} now: {found.secrets}.",
        "Before the servers start again, set both variables for all of them:",
        f"  {PASSPHRASE}=<the new passphrase>",
        f"  {VERSION}={version + 1}",
    ]
