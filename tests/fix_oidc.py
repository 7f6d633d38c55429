"""A real OpenID provider for tests (the package oidc-provider-mock), and a browser without scripts."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

from tests.fix_server import Server, base_environment, free_port
from tests.waiting import eventually
from tests.wire import Answer, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BACK = "http://127.0.0.1:1/back"  # nothing listens there
PUBLIC = Path(__file__).with_name("public_provider.py")
REDIRECTS = (301, 302, 303, 307, 308)


class Provider:
    """A running provider."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.issuer = server.url

    def set_user(self, sub: str, **claims: Any) -> None:
        """Let the provider know a user."""
        with Wire(self.issuer) as wire:
            answer = wire.ask(
                "PUT",
                f"/users/{sub}",
                json.dumps(claims).encode(),
                {"content-type": "application/json"},
            )
        assert answer.status == 204, str(answer)

    def code(self, sub: str, client_id: str, **parameters: str) -> str:
        """A code for a client, as a user who logs in gets it."""
        query = {"response_type": "code", "client_id": client_id, "redirect_uri": BACK}
        query |= {"scope": "openid profile email", **parameters}
        with Wire(self.issuer) as wire:
            answer = wire.ask(
                "POST",
                "/oauth2/authorize?" + urlencode(query),
                urlencode({"sub": sub}).encode(),
                {"content-type": "application/x-www-form-urlencoded"},
            )
        assert answer.status in REDIRECTS, str(answer)
        return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]

    def token(self, sub: str, client_id: str) -> str:
        """An ID token of the user for a client."""
        body = {"grant_type": "authorization_code", "redirect_uri": BACK, "client_id": client_id}
        body |= {"code": self.code(sub, client_id), "client_secret": "x"}
        with Wire(self.issuer) as wire:
            answer = wire.ask(
                "POST",
                "/oauth2/token",
                urlencode(body).encode(),
                {"content-type": "application/x-www-form-urlencoded"},
            )
        assert answer.status == 200, str(answer)
        found: str = answer.json()["id_token"]
        return found

    def keys(self) -> list[dict[str, Any]]:
        """The public keys."""
        with Wire(self.issuer) as wire:
            found: list[dict[str, Any]] = wire.ask("GET", "/jwks").json()["keys"]
        return found


@contextlib.contextmanager
def provider(
    directory: Path, *options: str, port: int | None = None, is_public: bool = False
) -> Iterator[Provider]:
    """A provider with new keys. `is_public`: its clients have no secret, and PKCE is checked."""
    port = port or free_port()
    program = (str(PUBLIC),) if is_public else ("-m", "oidc_provider_mock")
    argv = [sys.executable, *program, "--port", str(port), *options]
    environment = base_environment() | {"AUTHLIB_INSECURE_TRANSPORT": "1"}
    server = Server("provider", argv, directory, environment, port)
    try:
        eventually(lambda: _answers(server), what="the provider answers")
        yield Provider(server)
    finally:
        server.kill()


def _answers(server: Server) -> bool:
    assert server.process.poll() is None, server.log()
    with contextlib.suppress(OSError), Wire(server.url) as wire:
        return wire.ask("GET", "/.well-known/openid-configuration").status == 200
    return False


class Browser:
    """Keeps cookies by host and port, follows redirects, and sends the headers of a browser."""

    def __init__(self) -> None:
        self.cookies: dict[str, dict[str, str]] = {}
        self.visited: list[str] = []

    def open(self, url: str) -> Answer:
        """Open a page as a user does; returns the page at the end of the redirects."""
        return self._follow("GET", url, None, {"sec-fetch-site": "none"})

    def submit(self, url: str, form: Mapping[str, str]) -> Answer:
        """Submit a form of the page at `url`, whose action is the page itself."""
        sent = {
            "sec-fetch-site": "same-origin",
            "content-type": "application/x-www-form-urlencoded",
        }
        return self._follow("POST", url, urlencode(form).encode(), sent)

    def fetch(self, method: str, url: str, body: Any = None, **headers: str) -> Answer:
        """A request of a script of this server's own page."""
        sent = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "accept": "*/*"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            sent["content-type"] = "application/json"
        return self.ask(method, url, data, sent)

    def ask(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        """One request, with the cookies of its server."""
        parts = urlsplit(url)
        known = self.cookies.setdefault(parts.netloc, {})
        sent = dict(headers)
        if known:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in known.items())
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with Wire(f"{parts.scheme}://{parts.netloc}") as wire:
            answer = wire.ask(method, target, body, sent)
        for name, value in answer.lines:
            if name.lower() == "set-cookie":
                pair = value.partition(";")[0]
                key, _, content = pair.partition("=")
                known.pop(key, None)
                if "max-age=0" not in value.lower():
                    known[key] = content
        self.visited.append(url)
        return answer

    def _follow(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        sent = {"accept": "text/html,application/xhtml+xml", "sec-fetch-mode": "navigate"}
        answer = self.ask(method, url, body, {**sent, **headers})
        for _ in range(10):
            if answer.status not in REDIRECTS:
                return answer
            next_url = urljoin(url, answer.headers["location"])
            site = "same-origin" if urlsplit(next_url)[:2] == urlsplit(url)[:2] else "cross-site"
            if urlsplit(url).netloc == urlsplit(BACK).netloc:
                return answer
            url = next_url
            answer = self.ask("GET", url, None, {**sent, "sec-fetch-site": site})
        raise AssertionError(f"too many redirects: {self.visited}")

    @property
    def address(self) -> str:
        """Where the browser is."""
        return self.visited[-1]
