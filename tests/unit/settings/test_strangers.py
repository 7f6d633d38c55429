"""Spellings that a new user tries: each is accepted, or refused with the right one."""

from __future__ import annotations

import pytest

from headrace.db.uri import UriError, parse
from headrace.settings.kinds import SettingError
from headrace.settings.load import resolve


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("https://mlflow.example.com/", "write 'mlflow.example.com'"),
        ("http://mlflow.example.com:8080/team", "write 'mlflow.example.com:8080'"),
        ("https://mlflow.example.com:443", "write 'mlflow.example.com'"),
        ("localhost, mlflow.example.com/", "write 'mlflow.example.com'"),
    ],
)
def test_a_url_as_allowed_host_is_refused_with_the_right_spelling(given: str, right: str) -> None:
    with pytest.raises(SettingError, match=right):
        resolve({"allowed_hosts": given}, {})
    with pytest.raises(SettingError, match=right):
        resolve({}, {"MLFLOW_SERVER_ALLOWED_HOSTS": given})


def test_hosts_patterns_and_ports_are_accepted() -> None:
    hosts = "mlflow.example.com, *.example.com:8080, 10.*, [::1]:5000, *"
    assert resolve({"allowed_hosts": hosts}, {}).settings.allowed_hosts == hosts


@pytest.mark.parametrize("name", ["foo.db", "/data/foo.sqlite", "./foo.sqlite3"])
def test_a_file_as_store_uri_is_refused_with_the_right_spelling(name: str) -> None:
    with pytest.raises(UriError, match=f"'{name}' looks like the name of a file.*sqlite:///{name}"):
        parse(name)


def test_an_empty_store_uri_is_called_empty() -> None:
    """As with a variable of the shell that is not set."""
    for flags in ({"backend_store_uri": ""}, {"backend_store_uri": " "}):
        with pytest.raises(SettingError, match="The URI of the database is empty"):
            resolve(flags, {})


def test_a_directory_is_still_called_a_directory() -> None:
    with pytest.raises(UriError, match=r"'\./mlruns' is a directory"):
        parse("./mlruns")


@pytest.mark.parametrize(
    ("level", "ours"),
    [("error", "error"), ("FATAL", "error"), ("warn", "warning"), ("trace", "debug")],
)
def test_the_level_of_the_server_in_go_is_taken_over(level: str, ours: str) -> None:
    found = resolve(
        {
            "experimental_go": True,
            "experimental_go_opts": f"LogLevel={level},ShutdownTimeout=5s",
        },
        {},
    )
    assert found.settings.log_level == ours
    assert found.sources["log_level"] == "--experimental-go-opts"
    assert "--experimental-go has no effect: headrace serves all requests itself." in found.notes
    assert "options of --experimental-go-opts without effect: ShutdownTimeout." in found.notes


def test_a_level_of_headrace_comes_first() -> None:
    options = {"experimental_go_opts": "LogLevel=error"}
    assert resolve(options | {"log_level": "debug"}, {}).settings.log_level == "debug"
    assert resolve(options, {"HEADRACE_LOG_LEVEL": "info"}).settings.log_level == "info"


@pytest.mark.parametrize("given", ["LogLevel", "LogLevel=loud"])
def test_wrong_options_of_the_server_in_go_are_refused(given: str) -> None:
    with pytest.raises(SettingError, match="--experimental-go-opts"):
        resolve({"experimental_go_opts": given}, {})
