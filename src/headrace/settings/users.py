"""Settings of a server with users. The configuration file of users has more (`settings.auth`)."""

from __future__ import annotations

import dataclasses
from typing import Final

from headrace.settings.kinds import SWITCH, Kind, Secret, application, row
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
        default_text="none: everyone may do everything",
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
