"""`headrace auth`: users and their grants, without a server.

Imports inside functions keep the other commands, such as `headrace --version`, fast.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from headrace.commands.options import resolve
from headrace.commands.output import print_or_explain, print_table
from headrace.contract.workspaces import DEFAULT, is_workspace_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from headrace.auth.open import Accounts
    from headrace.settings.table import Settings

PAGE = 500  # users that are read at a time
HELD = 2000  # roles of these users that are read at a time

URI = click.option(
    "--database-uri",
    metavar="URI",
    help="The database of users. By default that of the configuration of users "
    "(MLFLOW_AUTH_CONFIG_PATH), or sqlite:///basic_auth.db.",
)

WORKSPACE = click.option(
    "--workspace",
    metavar="NAME",
    default=DEFAULT,
    show_default=True,
    help="The workspace of the resource, on a server with workspaces.",
)


@click.group()
def auth() -> None:
    """Manage the users of `headrace server --app-name basic-auth`, and their permissions.

    The commands work on the database of users, so they need no server and no password. A change takes
    effect from the next request of every server. A new password is asked for, or read from stdin.
    """


@auth.group()
def user() -> None:
    """Add, list and delete users, and set their passwords."""


@user.command(name="add")
@click.argument("name")
@click.option("--admin", is_flag=True, help="The user can do anything.")
@URI
def add_user(name: str, admin: bool, database_uri: str | None) -> None:
    """Add a user, whose password is asked for or read from stdin."""
    stored = _hashed(_new_password())

    async def add(accounts: Accounts) -> list[str]:
        from headrace.auth import users

        made = await accounts.db.write(users.create, name, stored, admin)
        _audit("user.create", target=name, is_admin=admin)
        return [f"added the {'admin' if made.is_admin else 'user'} {made.username}"]

    _run(database_uri, add)


@user.command(name="list")
@URI
def list_users(database_uri: str | None) -> None:
    """List the users with their roles."""
    rows: list[tuple[str, ...]] = []

    async def read(accounts: Accounts) -> list[str]:
        from headrace.auth import users

        after = 0
        while page := await accounts.db.read(users.page, after, PAGE):
            names = await _role_names(accounts, [found.id for found in page])
            for found in page:
                admin = "yes" if found.is_admin else ""
                rows.append((found.username, admin, ", ".join(names.get(found.id, ()))))
            after = page[-1].id
        return []

    _run(database_uri, read)
    print_table(("user", "admin", "roles"), rows)


@user.command(name="set-password")
@click.argument("name")
@URI
def set_password(name: str, database_uri: str | None) -> None:
    """Replace a user's password. It ends the user's tokens and sessions."""
    stored = _hashed(_new_password())

    async def replace(accounts: Accounts) -> list[str]:
        from headrace.auth import users

        await accounts.db.write(users.set_password_hash, name, stored)
        _audit("user.password", target=name)
        return [f"replaced the password of {name}"]

    _run(database_uri, replace)


@user.command(name="delete")
@click.argument("name")
@URI
def delete_user(name: str, database_uri: str | None) -> None:
    """Delete a user with all grants. Experiments and models of the user stay."""

    async def delete(accounts: Accounts) -> list[str]:
        from headrace.auth import users

        await accounts.db.write(users.delete, name, accounts.facts.dead)
        _audit("user.delete", target=name)
        return [f"deleted the user {name}"]

    _run(database_uri, delete)


@auth.command()
@click.argument("name")
@click.argument("resource_type")
@click.argument("resource_id")
@click.argument("permission")
@WORKSPACE
@URI
def grant(
    name: str,
    resource_type: str,
    resource_id: str,
    permission: str,
    workspace: str,
    database_uri: str | None,
) -> None:
    """Grant PERMISSION on a resource to the user NAME.

    \b
    For example:  headrace auth grant ann experiment 12 EDIT
                  headrace auth grant ann registered_model '*' READ
    """

    async def give(accounts: Accounts) -> list[str]:
        from headrace.auth import grants
        from headrace.auth.grantable import canonical_id

        id_ = canonical_id(resource_type, resource_id)
        place = _in_workspace(workspace)
        await accounts.db.write(grants.grant, name, resource_type, id_, permission, place)
        _audit("grant.add", target=name, type=resource_type, id=id_, level=permission)
        if resource_type == "experiment":
            await _note_absence(id_, place)
        return [f"granted {permission} on {resource_type} {id_} to {name}"]

    _run(database_uri, give)


@auth.command()
@click.argument("name")
@click.argument("resource_type")
@click.argument("resource_id")
@WORKSPACE
@URI
def revoke(
    name: str, resource_type: str, resource_id: str, workspace: str, database_uri: str | None
) -> None:
    """Delete NAME's own grant on a resource. Those of roles stay."""

    async def take(accounts: Accounts) -> list[str]:
        from headrace.auth import grants
        from headrace.auth.grantable import canonical_id

        id_ = canonical_id(resource_type, resource_id)
        place = _in_workspace(workspace)
        await accounts.db.write(grants.revoke, name, resource_type, id_, place)
        _audit("grant.remove", target=name, type=resource_type, id=id_)
        return [f"revoked the grant on {resource_type} {id_} from {name}"]

    _run(database_uri, take)


@auth.command()
@click.argument("name")
@click.option("--days", type=click.IntRange(1, 3650), required=True, help="How long it is valid.")
@URI
def token(name: str, days: int, database_uri: str | None) -> None:
    """Print a token with which clients log in as the user NAME, without the password.

    Clients send it as MLFLOW_TRACKING_TOKEN. It ends after --days, with a change of the password, and with
    the deletion of the user. Needs the server's MLFLOW_FLASK_SERVER_SECRET_KEY, which signs it.
    """
    key = _settings().secret_key
    if not key:
        raise click.UsageError(
            "The token is signed with the server's secret key: set MLFLOW_FLASK_SERVER_SECRET_KEY."
        )

    async def issue(accounts: Accounts) -> list[str]:
        from headrace.auth import users
        from headrace.auth.tokens import Tokens

        found = await accounts.db.read(users.get, name)
        _audit("token.issue", target=name, days=days)
        return [Tokens(key).issue(found.username, found, days)]

    _run(database_uri, issue)


@auth.group(name="db")
def database() -> None:
    """The tables of users."""


@database.command()
@URI
def check(database_uri: str | None) -> None:
    """Report the schema of the tables of users. Changes nothing.

    Exit code 1 if headrace cannot serve them.
    """
    uri = database_uri or _users_uri()

    def lines() -> list[str]:
        from headrace.db.upkeep.access import inspect_users
        from headrace.db.uri import parse

        target = parse(uri)
        facts = asyncio.run(inspect_users(target))
        if facts is None:
            return [f"{target.shown} has no tables of users yet. The server makes them."]
        return [f"database  {target.shown}", f"schema    {facts.head}", *facts.warnings]

    print_or_explain(lines)


def _in_workspace(name: str) -> str:
    """The name, if a workspace may have it. The database of users does not know which exist."""
    if not is_workspace_name(name):
        raise click.UsageError(f"'{name}' is not the name of a workspace.")
    return name


def _run(database_uri: str | None, work: Callable[[Accounts], Awaitable[list[str]]]) -> None:
    """Run `work` on the database of users, and print the lines that it returns."""
    from headrace.contract.errors import ApiError

    uri = database_uri or _users_uri()

    async def run() -> list[str]:
        from headrace.auth.open import Accounts
        from headrace.db.upkeep.access import opened_users

        async with opened_users(uri) as (db, facts):
            return await work(Accounts(db, facts, in_tracking=False))

    def lines() -> list[str]:
        try:
            return asyncio.run(run())
        except ApiError as error:
            raise click.ClickException(error.message) from error

    print_or_explain(lines)


async def _note_absence(experiment_id: str, workspace: str) -> None:
    """Say on stderr that the tracking database, if this machine reaches it, has no such experiment.

    One of another workspace is none: the grant has no effect on it.
    """
    from headrace.api.tracking.experiments import sql
    from headrace.db.schema.facts import UnusableDatabase
    from headrace.db.upkeep.access import opened
    from headrace.db.uri import parse
    from headrace.db.workspace import DatabaseIn

    uri = _settings().backend_store_uri
    if not (experiment_id.isdecimal() and len(experiment_id) < 10):
        return
    try:
        async with opened(uri) as db:
            has_workspaces = db.schema.has("experiments", "workspace")
            place = DatabaseIn(db, workspace) if has_workspaces else db
            found = await place.read(sql.row_of, sql.BY_ID, int(experiment_id))
    except UnusableDatabase:  # not reached: the grant is stored anyway
        return
    if found is None:
        where = "" if workspace == DEFAULT else f" in the workspace {workspace}"
        click.echo(f"{parse(uri).shown} has no experiment {experiment_id} (yet){where}.", err=True)


def _audit(action: str, **objects: object) -> None:
    """Write a committed change to stderr as a line of the audit log, as the server does.

    Not to a terminal, whose lines are not kept, and where the command says what it did anyway.
    """
    from headrace.auth.audit import command_changed
    from headrace.server import logs

    if not sys.stderr.isatty():
        logs.configure("info", _settings().log_format)
        command_changed(action, **objects)


def _settings() -> Settings:
    return resolve({"app_name": "basic-auth"}).settings


def _users_uri() -> str:
    found = _settings().auth
    assert found is not None, "the settings of a server with users"
    return found.database_uri


def _new_password() -> str:
    """A password from a prompt or, if stdin is no terminal, its content without the last line end.

    Not an argument, because every user of the machine can read those.
    """
    from headrace.auth.users import check_password
    from headrace.contract.errors import ApiError

    if sys.stdin.isatty():
        password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
        if "\n" in password:
            raise click.ClickException("The password on stdin has more than one line.")
    try:
        check_password(password)
    except ApiError as error:
        raise click.ClickException(error.message) from error
    return password


def _hashed(password: str) -> str:
    from headrace.auth import passwords

    return passwords.hashed(password)


async def _role_names(accounts: Accounts, user_ids: list[int]) -> dict[int, list[str]]:
    """The names of the users' roles, without the role of each user alone.

    A role of another workspace than `default` is shown as WORKSPACE/NAME.
    """
    from headrace.auth import grantable, roles

    names: dict[int, list[str]] = {}
    after = (0, 0)
    while page := await accounts.db.read(roles.held, user_ids, after, HELD):
        for held in page:
            if not held.role.name.startswith(grantable.RESERVED):
                role = held.role
                shown = role.name if role.workspace == DEFAULT else f"{role.workspace}/{role.name}"
                names.setdefault(held.user_id, []).append(shown)
        after = (page[-1].user_id, page[-1].assignment_id)
    return names
