"""Settings of logins: users that a proxy has logged in, and Prometheus."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Final

from headrace.auth.groups import parse_groups, parse_roles
from headrace.auth.origins import parse_networks
from headrace.settings.kinds import Kind, Secret, row
from headrace.settings.users import USERS, UserSettings

_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OF_THE_CLIENT: Final = frozenset({"authorization", "cookie", "host", "x-forwarded-for"})
SHORTEST_TOKEN: Final = 16  # characters


def header_name(value: str) -> str:
    """Check the name of a header that a proxy sets."""
    if not _HEADER.fullmatch(value):
        raise ValueError(f"'{value}' is not the name of a header")
    if value.lower() in _OF_THE_CLIENT:
        raise ValueError(f"'{value}' is a header of clients, so it cannot name a user")
    return value


def networks(value: str) -> str:
    """Check networks such as 10.0.0.0/8, or addresses, separated by commas."""
    parse_networks(value)
    return value


def group_roles(value: str) -> str:
    """Check pairs GROUP=ROLE, separated by commas."""
    parse_roles(value)
    return value


def groups(value: str) -> str:
    """Check names of groups, separated by commas."""
    parse_groups(value)
    return value


def token(value: str) -> Secret:
    """Check a bearer token. The message must not contain it."""
    if len(value) < SHORTEST_TOKEN or not value.isascii() or not value.isprintable():
        raise ValueError(f"it is not a text of at least {SHORTEST_TOKEN} ASCII characters")
    return Secret(value)


def token_file(value: str) -> Secret:
    """Read a bearer token from a file."""
    try:
        content = Path(value).read_text("ascii")
    except (OSError, UnicodeError):
        raise ValueError(f"the file '{value}' cannot be read") from None
    return token(content.strip())


@dataclasses.dataclass(frozen=True)
class LoginSettings(UserSettings):
    """The rows of logins; see `table` for the others."""

    auth_proxy_header: str | None = row(
        USERS,
        None,
        Kind("HEADER", header_name),
        flags="--auth-proxy-header",
        env="HEADRACE_AUTH_PROXY_HEADER",
        help="The header in which a proxy names the user that it has logged in, such as "
        "X-Forwarded-User. It counts only in requests from --auth-proxy-networks; from other "
        "addresses it is ignored. Unknown users are made on their first request.",
        default_text="none: users log in with a password or a token",
    )
    auth_proxy_groups_header: str | None = row(
        USERS,
        None,
        Kind("HEADER", header_name),
        flags="--auth-proxy-groups-header",
        env="HEADRACE_AUTH_PROXY_GROUPS_HEADER",
        help="The header in which the proxy names the groups of the user, separated by commas, such as "
        "X-Forwarded-Groups. --auth-group-roles and --auth-admin-groups say what they mean.",
        default_text="none: roles are assigned by admins only",
    )
    auth_proxy_networks: str | None = row(
        USERS,
        None,
        Kind("NETWORKS", networks),
        flags=("--auth-proxy-networks", "--forwarded-allow-ips"),
        env="HEADRACE_AUTH_PROXY_NETWORKS",
        help="Addresses or networks, separated by commas, of the proxies in front of the server, such as "
        "10.1.2.3 or 10.0.0.0/24. Every client with such an address can be any user. The address "
        "of a client behind such a proxy is taken from X-Forwarded-For, for the limit of failed "
        "logins, the audit log and the request log (uvicorn calls this --forwarded-allow-ips).",
        default_text="none",
    )
    auth_group_roles: str | None = row(
        USERS,
        None,
        Kind("GROUP=ROLE", group_roles),
        flags="--auth-group-roles",
        env="HEADRACE_AUTH_GROUP_ROLES",
        help="The roles that groups give, as GROUP=ROLE or GROUP=WORKSPACE/ROLE, separated by commas. "
        "Only these roles are given, and taken from users without the group.",
        default_text="a group gives the role of the same name, and groups alone decide who has the "
        "roles of the workspace default",
    )
    auth_admin_groups: str | None = row(
        USERS,
        None,
        Kind("GROUPS", groups),
        flags="--auth-admin-groups",
        env="HEADRACE_AUTH_ADMIN_GROUPS",
        help="Groups, separated by commas, whose members are admins. Users without such a group are then "
        "no admins.",
        default_text="none: groups do not decide who is an admin",
    )
    metrics_token: str = row(
        USERS,
        Secret(""),
        Kind("TOKEN", token),
        env="HEADRACE_METRICS_TOKEN",
        help="A bearer token for GET /metrics, for Prometheus. With users, logged-in users may read it "
        "too; without users, nobody may without the token.",
        default_text="none",
    )
    metrics_token_file: str = row(
        USERS,
        Secret(""),
        Kind("FILE", token_file),
        flags="--metrics-token-file",
        env="HEADRACE_METRICS_TOKEN_FILE",
        help="A file with the bearer token for GET /metrics. It is read at the start.",
        default_text="none",
    )
