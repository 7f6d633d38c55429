"""Settings of a server with users. The configuration file of users has more (`settings.auth`)."""

from __future__ import annotations

import dataclasses
from typing import Final

from headrace.settings.kinds import SWITCH, TEXT, Kind, Secret, application, row
from headrace.settings.unsupported import UnsupportedSettings

USERS: Final = "Users"


@dataclasses.dataclass(frozen=True)
class UserSettings(UnsupportedSettings):
    """The rows of users; see `table` for the others."""

    app_name: str | None = row(
        USERS,
        None,
        Kind("NAME", application),
        flags="--app-name",
        env="HEADRACE_APP_NAME",
        help="basic-auth: users with passwords and permissions, as in MLflow. The variable is for "
        "`mlflow server --app-name headrace`.",
        default_text="none: anyone can do anything",
    )
    auth_config_path: str | None = row(
        USERS,
        None,
        Kind("PATH", str),
        env="MLFLOW_AUTH_CONFIG_PATH",
        help="MLflow's configuration file of users: default_permission, database_uri, "
        "admin_username … `headrace config` prints its values.",
        default_text="the values of MLflow's own file: READ, sqlite:///basic_auth.db, admin",
    )
    auth_admin_username: str | None = row(
        USERS,
        None,
        TEXT,
        env="MLFLOW_AUTH_ADMIN_USERNAME",
        help="Name of the first admin. Replaces admin_username of the configuration file, even when it is "
        "empty.",
        default_text="admin_username of the file",
    )
    auth_admin_password: str = row(
        USERS,
        Secret(""),
        Kind("PASSWORD", Secret),
        env="MLFLOW_AUTH_ADMIN_PASSWORD",
        help="Password of the first admin, at least 12 characters, for the start that creates this user. "
        "Replaces admin_password of the configuration file, even when it is empty.",
        default_text="admin_password of the file",
    )
    secret_key: str = row(
        USERS,
        Secret(""),
        Kind("KEY", Secret),
        env="MLFLOW_FLASK_SERVER_SECRET_KEY",
        help="The key that signs cookies, forms and tokens of users: a long random text, the same for all "
        "servers of a database. A server with users needs it.",
    )
    fail_closed: bool = row(
        USERS,
        True,
        SWITCH,
        env="MLFLOW_BASIC_AUTH_FAIL_CLOSED",
        help="Only admins may use routes that no rule covers.",
    )
    graphql_auth: bool = row(
        USERS,
        True,
        SWITCH,
        env="MLFLOW_SERVER_ENABLE_GRAPHQL_AUTH",
        help="Check permissions for the fields of GraphQL queries.",
    )
    seed_default_roles: bool = row(
        USERS,
        True,
        SWITCH,
        env="MLFLOW_RBAC_SEED_DEFAULT_ROLES",
        help="Make the roles admin and user in every new workspace.",
    )
