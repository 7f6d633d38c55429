"""Settings of logins at OpenID providers: what is refused, and that secrets are not shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from headrace.settings import oidc
from headrace.settings.kinds import SettingError, shown
from headrace.settings.load import load

if TYPE_CHECKING:
    from pathlib import Path

USERS = {
    "HEADRACE_APP_NAME": "basic-auth",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "a secret key of the server",
}
ISSUER = "https://id.example.com/realms/team"


@pytest.fixture(autouse=True)
def no_packages_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra oidc may not be installed."""
    monkeypatch.setattr(oidc, "PACKAGES", ())


def test_the_extra_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "PACKAGES", ("no_such_package",))
    with pytest.raises(SettingError, match=r"pip install .*'authlib"):
        settings(oidc_issuer=ISSUER, oidc_audience="a")


def settings(**flags: Any) -> Any:
    return load(flags, USERS)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"oidc_issuer": "http://id.example.com", "oidc_audience": "a"}, "not a URL with https"),
        ({"oidc_issuer": "id.example.com", "oidc_audience": "a"}, "not a URL with https"),
        ({"oidc_issuer": ",", "oidc_audience": "a"}, "names no issuer"),
        ({"oidc_issuer": ISSUER}, "needs --oidc-audience, --oidc-client-id or both"),
        ({"oidc_audience": "a"}, "need --oidc-issuer"),
        ({"oidc_client_id": "a"}, "need --oidc-issuer"),
        (
            {"oidc_redirect_uri": "https://mlflow.example.com/"},
            "a URL with https that ends with /oidc/callback",
        ),
        ({"oidc_redirect_uri": "http://mlflow.example.com/oidc/callback"}, "a URL with https"),
        ({"oidc_client_secret_file": "no-such-file"}, "cannot be read"),
        ({"oidc_session_hours": "0"}, "0 is not in the range"),
    ],
)
def test_what_is_refused(flags: dict[str, str], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        settings(**flags)


def test_logins_at_a_provider_need_users() -> None:
    with pytest.raises(SettingError, match="add --app-name basic-auth"):
        load({"oidc_issuer": ISSUER, "oidc_audience": "a"}, {})


def test_a_provider_on_this_machine_may_use_http() -> None:
    found = settings(oidc_issuer="http://localhost:9400, https://b", oidc_client_id="c")
    assert found.has_page_login
    assert not settings(oidc_issuer=ISSUER, oidc_audience="a").has_page_login
    assert not settings().has_page_login


def test_the_secret_of_the_client_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("from a file\n")
    found = settings(oidc_issuer=ISSUER, oidc_client_id="c", oidc_client_secret_file=str(file))
    assert found.oidc_client_secret_file == "from a file"
    assert "from a file" not in repr(found) + shown(found.oidc_client_secret_file)
    variables = USERS | {"HEADRACE_OIDC_CLIENT_SECRET": "from a variable"}
    flags = {"oidc_issuer": ISSUER, "oidc_client_id": "c"}
    assert "from a variable" not in repr(load(flags, variables))
    with pytest.raises(SettingError, match="exclude each other"):
        load({**flags, "oidc_client_secret_file": str(file)}, variables)
    file.write_text(" \n")
    with pytest.raises(SettingError, match="is empty"):
        settings(oidc_client_secret_file=str(file))
