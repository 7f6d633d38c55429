"""The configuration of users: MLflow's file and variables, and the refusals of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from headrace.settings.auth import AuthSettings
from headrace.settings.kinds import SettingError
from headrace.settings.load import load_handed_over
from headrace.settings.load import resolve as resolve_settings
from headrace.settings.validate import validate_server

if TYPE_CHECKING:
    from pathlib import Path

KEY = {"MLFLOW_FLASK_SERVER_SECRET_KEY": "a long random text"}
FILE = """
[mlflow]
default_permission = NO_PERMISSIONS
database_uri = postgresql://ann:s%%40fe-word@db/auth
admin_username = root
admin_password = a right long password
"""


@pytest.fixture(autouse=True)
def empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults depend on the files in the working directory."""
    monkeypatch.chdir(tmp_path)


def read(text: str | None, tmp_path: Path, **environ: str) -> AuthSettings:
    """The configuration of a file with this text, or without a file."""
    if text is not None:
        path = tmp_path / "auth.ini"
        path.write_text(text)
        environ["MLFLOW_AUTH_CONFIG_PATH"] = str(path)
    auth = resolve_settings({"app_name": "basic-auth"}, environ).settings.auth
    assert auth is not None
    return auth


def test_without_app_name_there_are_no_users(tmp_path: Path) -> None:
    """A configuration file alone is noted."""
    resolution = resolve_settings({}, {"MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "none.ini")})
    assert resolution.settings.auth is None
    (note,) = resolution.notes
    assert "MLFLOW_AUTH_CONFIG_PATH has no effect without --app-name basic-auth" in note


def test_without_a_file_the_values_are_mlflows(tmp_path: Path) -> None:
    auth = read(None, tmp_path)
    assert auth == AuthSettings("READ", "sqlite:///basic_auth.db", admin_username="admin")
    assert auth.custom_function is None


def test_the_file_is_read_as_mlflow_reads_it(tmp_path: Path) -> None:
    """With %% for a percent sign; a key that is left out has no value of MLflow's own file."""
    auth = read(FILE, tmp_path)
    assert auth.default_permission == "NO_PERMISSIONS"
    assert auth.database_uri == "postgresql://ann:s%40fe-word@db/auth"
    assert auth.admin_username == "root"
    assert auth.admin_password.encode() == b"a right long password"
    assert auth.auth_cache_ttl_seconds == 0
    short = "[mlflow]\ndefault_permission=USE\ndatabase_uri=sqlite:///u.db\n"
    assert read(short, tmp_path).admin_username == ""
    custom = read(short + "authorization_function = pack.age:who\n", tmp_path)
    assert custom.custom_function == "pack.age:who"


def test_a_variable_counts_even_if_it_is_empty(tmp_path: Path) -> None:
    """So an empty secret is not replaced by an old value of the file."""
    names = {"MLFLOW_AUTH_ADMIN_USERNAME": "", "MLFLOW_AUTH_ADMIN_PASSWORD": ""}
    auth = read(FILE, tmp_path, **names)
    assert (auth.admin_username, auth.admin_password.encode()) == ("", b"")
    auth = read(FILE, tmp_path, MLFLOW_AUTH_ADMIN_USERNAME="ann")
    assert (auth.admin_username, auth.admin_password.encode()) == ("ann", b"a right long password")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no section [mlflow]"),
        ("default_permission = READ", "this is not an INI file"),
        ("[mlflow]\ndefault_permission = READ\n", "has no database_uri"),
        ("[mlflow]\ndatabase_uri = sqlite:///a.db\n", "has no default_permission"),
        ("[mlflow]\ndefault_permision = READ\n", "'default_permision'. Did you mean default_perm"),
        (FILE.replace("NO_PERMISSIONS", "ALL"), "default_permission in"),
        (FILE + "admin_password = hunter22hunter22\n", "this is not an INI file"),
        (FILE + "auth_cache_max_size = many\n", "'many' is not a whole number"),
        (FILE + "grant_default_workspace_access = perhaps\n", "neither true nor false"),
        (FILE + "authorization_function = who\n", "module:function"),
        (FILE.replace("%%", "%"), "write it as %%"),
    ],
)
def test_what_is_refused(text: str, says: str, tmp_path: Path) -> None:
    """With a sentence that names the file and no password."""
    with pytest.raises(SettingError) as caught:
        read(text, tmp_path)
    assert says in str(caught.value)
    assert "fe-word" not in str(caught.value) and "hunter22" not in str(caught.value)


def test_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """Not replaced by defaults: the administrator wanted other values."""
    with pytest.raises(SettingError, match="cannot be read: No such file"):
        read(None, tmp_path, MLFLOW_AUTH_CONFIG_PATH=str(tmp_path / "none.ini"))


def test_unknown_keys_and_a_replica_are_noted(tmp_path: Path) -> None:
    auth = read(FILE + "admin_pasword = x\nread_database_uri = sqlite:///r.db\n", tmp_path)
    unknown, replica = auth.notes
    assert "admin_pasword" in unknown and "has no effect" in unknown
    assert "read_database_uri has no effect" in replica


def test_no_secret_is_shown(tmp_path: Path) -> None:
    """In the text of the settings."""
    auth = read(FILE, tmp_path)
    settings = resolve_settings(
        {"app_name": "basic-auth"}, {**KEY, "MLFLOW_AUTH_CONFIG_PATH": auth.source}
    ).settings
    for text in (repr(auth), repr(settings), str(auth.admin_password)):
        assert "right long" not in text and "fe-word" not in text and "random text" not in text


@pytest.mark.parametrize(
    ("flags", "environ", "says"),
    [
        ({"app_name": "basic-auth"}, {}, "MLFLOW_FLASK_SERVER_SECRET_KEY"),
        ({"app_name": "basic-auth", "dev": True}, KEY, "'--dev' cannot be used with '--app-name'"),
    ],
)
def test_a_server_does_not_start(flags: dict[str, Any], environ: dict[str, str], says: str) -> None:
    """But other commands may run with these settings."""
    settings = resolve_settings(flags, environ).settings
    with pytest.raises(SettingError, match=says):
        validate_server(settings)


def test_under_mlflow_server_a_variable_switches_users_on(tmp_path: Path) -> None:
    """Its own --app-name is headrace then; a configuration of users must not be ignored."""
    path = tmp_path / "auth.ini"
    path.write_text(FILE)
    handed = {"_MLFLOW_SERVER_FILE_STORE": "sqlite:///mlflow.db", **KEY}
    assert load_handed_over(handed).auth is None
    assert load_handed_over({**handed, "HEADRACE_APP_NAME": "basic-auth"}).auth is not None
    by_path = load_handed_over({**handed, "MLFLOW_AUTH_CONFIG_PATH": str(path)})
    assert by_path.auth is not None and by_path.auth.admin_username == "root"
    with pytest.raises(SettingError, match="MLFLOW_FLASK_SERVER_SECRET_KEY"):
        load_handed_over({"HEADRACE_APP_NAME": "basic-auth"})
