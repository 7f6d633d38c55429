"""Settings of logins: what is refused, what is noted, and that no token is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from headrace.auth.bearer import scrape_token
from headrace.auth.groups import RoleName, groups_of
from headrace.auth.origins import origins_of
from headrace.settings.kinds import SettingError
from headrace.settings.load import load, resolve
from headrace.settings.validate import validate_server

if TYPE_CHECKING:
    from pathlib import Path

USERS = {"app_name": "basic-auth", "auth_proxy_header": "X-User"}
KEY = {"MLFLOW_FLASK_SERVER_SECRET_KEY": "a long random text"}
TOKEN = "a token of enough characters"


@pytest.fixture(autouse=True)
def empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults depend on the files in the working directory."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"auth_proxy_header": "X-User"}, "needs users"),
        (USERS, "--auth-proxy-networks"),
        (
            {"app_name": "basic-auth", "auth_proxy_groups_header": "X-Groups"},
            "needs --auth-proxy-header",
        ),
    ],
)
def test_a_server_without_the_rest_of_a_proxys_settings_is_refused(
    flags: dict[str, str], says: str
) -> None:
    with pytest.raises(SettingError, match=says):
        validate_server(load(flags, KEY))


def test_a_server_behind_a_proxy_starts() -> None:
    flags = USERS | {"auth_proxy_networks": "10.0.0.5, 10.1.0.0/16"}
    resolution = resolve(flags, KEY)
    validate_server(resolution.settings)
    assert resolution.notes == ()
    assert origins_of(resolution.settings).trusts("10.1.2.3")
    assert not origins_of(load({}, {})).trusts("127.0.0.1")


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0"])
def test_trusting_every_address_is_noted(network: str) -> None:
    (note,) = resolve(USERS | {"auth_proxy_networks": network}, KEY).notes
    assert "every client can name any user" in note


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("auth_proxy_header", "X User"),
        ("auth_proxy_header", "Authorization"),
        ("auth_proxy_groups_header", "X-Forwarded-For"),
        ("auth_proxy_networks", "10.0.0.1/8"),
        ("auth_proxy_networks", "proxy.example.com"),
        ("auth_group_roles", "admins"),
        ("auth_admin_groups", "x" * 256),
    ],
)
def test_malformed_values_are_refused(name: str, text: str) -> None:
    with pytest.raises(SettingError, match="Invalid value for '--auth"):
        load({name: text}, {})


def test_groups_of_the_settings() -> None:
    flags = {"auth_group_roles": "ml=editors", "auth_admin_groups": "it, root"}
    groups = groups_of(load(flags, {}))
    assert groups.roles(["ml", "x"]) == {RoleName("default", "editors")}
    assert groups.is_admin(["root"])
    assert groups_of(load({}, {})).is_admin(["root"]) is None


def test_the_token_of_metrics_comes_from_a_variable_or_a_file(tmp_path: Path) -> None:
    assert scrape_token(load({}, {})) == ""
    by_variable = load({}, {"HEADRACE_METRICS_TOKEN": TOKEN})
    assert scrape_token(by_variable).encode() == TOKEN.encode()
    (tmp_path / "token").write_text(TOKEN + "\n")
    by_file = load({"metrics_token_file": "token"}, {})
    assert scrape_token(by_file).encode() == TOKEN.encode()
    for settings in (by_variable, by_file):
        assert TOKEN not in f"{settings} {settings!r} {scrape_token(settings)}"


@pytest.mark.parametrize("content", [None, b"", b"short", b"\xff" * 32, b"two lines\nof a token"])
def test_a_file_without_a_token_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(SettingError, match="Invalid value for '--metrics-token-file'"):
        load({"metrics_token_file": "token"}, {})


def test_a_refused_token_is_not_shown() -> None:
    with pytest.raises(SettingError) as refused:
        load({}, {"HEADRACE_METRICS_TOKEN": "short one"})
    assert "short one" not in str(refused.value)
