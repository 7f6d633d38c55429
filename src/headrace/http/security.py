"""Protection of browsers: allowed hosts, CORS, framing.

The checks run before any route, including bridged ones. The rules are MLflow's: a Host check
against DNS rebinding, then CORS preflights, then rejection of changes by pages of other origins.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from headrace.http import hosts
from headrace.http.messages import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

Headers = tuple[tuple[str, str], ...]

log = logging.getLogger(__name__)

INVALID_HOST: Final = b"Invalid Host header - possible DNS rebinding attack detected"
CROSS_ORIGIN: Final = b"Cross-origin request blocked"
# Stock's two, and the paths that probes and Prometheus request by the address of a pod.
EXEMPT_FROM_HOST_CHECK: Final = frozenset({"/health", "/version", "/livez", "/readyz", "/metrics"})
NOTEBOOK_RENDERER: Final = "/static-files/lib/notebook-trace-renderer/"  # framed by notebooks
API_PATHS: Final = ("/api/", "/ajax-api/")
CHANGING_METHODS: Final = frozenset({"POST", "PUT", "DELETE", "PATCH"})
PREFLIGHT_VARY: Final = (
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, "
    "Access-Control-Request-Private-Network"
)
CORS_METHODS: Final = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
WILDCARD_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY")
PREFLIGHT_MAX_AGE_S: Final = 600
LOOPBACK_ORIGIN: Final = re.compile(r"http://(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]+)?")
LOOPBACK_ORIGIN_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
OWN_SITES: Final = frozenset({"same-origin", "none"})  # of Sec-Fetch-Site, which browsers set
MAX_KNOWN_HOSTS: Final = 1024  # cached allowed hosts; bounded, since clients choose them


class Security:
    """The checks and headers of one server. Safe to share between requests.

    `allowed_hosts` and `cors_allowed_origins` are comma-separated lists of exact values or globs;
    `*` allows all, None means the defaults. With "NONE" as `x_frame_options` no header is sent.
    Paths are without the static prefix.
    """

    def __init__(
        self,
        allowed_hosts: str | None = None,
        cors_allowed_origins: str | None = None,
        x_frame_options: str | None = "SAMEORIGIN",
        *,
        disabled: bool = False,
    ) -> None:
        listed = _split(allowed_hosts)
        origins = _split(cors_allowed_origins)
        self.disabled = disabled
        self._known_hosts: set[str] = set()
        self._any_host = "*" in listed
        self._hosts = hosts.Patterns(listed) if listed else None
        self._origins = frozenset(origins)
        self._origin_patterns = hosts.Patterns(origins)
        self._any_origin = "*" in origins
        frame = (x_frame_options or "NONE").upper()
        nosniff = (("x-content-type-options", "nosniff"),)
        framed = () if frame == "NONE" else (("x-frame-options", frame),)
        self._plain: Headers = (*nosniff, *framed, ("vary", "Origin"))
        self._renderer: Headers = (*nosniff, ("vary", "Origin"))

    def refuse(self, method: str, path: str, headers: Mapping[str, str]) -> Response | None:
        """The answer that rejects this request, or that to a preflight; None when its route may run.

        `headers` has lower-case names. The answer is complete and needs no `response_headers`.
        """
        if self.disabled:
            return None
        host = headers.get("host", "")
        if host not in self._known_hosts and not self._allows_host(host, path):
            log.warning("refused a request with Host %r", host)
            return _text(403, INVALID_HOST)
        origin = headers.get("origin")
        if origin is None:
            return None
        if method == "OPTIONS" and "access-control-request-method" in headers:
            return self._preflight(origin, headers)
        if (
            method in CHANGING_METHODS
            and path.startswith(API_PATHS)
            and not self._may_change_data(origin)
        ):
            log.warning("refused a %s from a page of origin %r", method, origin)
            return _text(403, CROSS_ORIGIN, self._cors(origin))
        return None

    def response_headers(self, path: str, origin: str | None = None) -> Headers:
        """The additional headers of every other answer; `origin` is that of the request."""
        if self.disabled:
            return ()
        base = self._renderer if path.startswith(NOTEBOOK_RENDERER) else self._plain
        if origin is None:
            return base
        return base[:-1] + self._cors(origin)

    def _allows_host(self, host: str, path: str) -> bool:
        if path in EXEMPT_FROM_HOST_CHECK:
            return True
        if not self._any_host and not self._is_listed(host):
            return False
        if len(self._known_hosts) >= MAX_KNOWN_HOSTS:
            self._known_hosts.clear()
        self._known_hosts.add(host)
        return True

    def _is_listed(self, text: str) -> bool:
        host = hosts.parse(text)
        if host is None:
            return False
        if self._hosts is None:
            return hosts.is_allowed_by_default(host)
        return self._hosts.match(host.text, host)

    def _may_change_data(self, origin: str) -> bool:
        if self._any_origin or not origin:
            return True
        try:
            if urlsplit(origin).hostname in LOOPBACK_ORIGIN_HOSTS:
                return True
        except ValueError:  # for example an unbalanced bracket
            return False
        scheme, mark, rest = origin.lower().partition("://")
        host = hosts.parse(rest)
        return host is not None and self._origin_patterns.match(scheme + mark + host.text, host)

    def is_foreign(self, headers: Mapping[str, str]) -> bool:
        """Whether a page of another origin that is not allowed makes this request.

        Unlike `refuse` it checks GET as well, for requests that an image on a page must not
        trigger.
        """
        site = headers.get("sec-fetch-site")
        if self.disabled or site in OWN_SITES:
            return False
        origin = headers.get("origin")
        if not origin:
            return site is not None
        own = origin.partition("://")[2] == headers.get("host")
        return not own and not self._may_change_data(origin)

    def _echoes(self, origin: str) -> bool:
        return LOOPBACK_ORIGIN.fullmatch(origin) is not None or origin in self._origins

    def _cors(self, origin: str) -> Headers:
        if self._any_origin:
            return (
                ("access-control-allow-origin", "*"),
                ("access-control-expose-headers", "*"),
                ("vary", "Origin"),
            )
        allowed = (("access-control-allow-origin", origin),) if self._echoes(origin) else ()
        return (
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", "*"),
            *allowed,
            ("vary", "Origin"),
        )

    def _preflight(self, origin: str, headers: Mapping[str, str]) -> Response:
        methods = WILDCARD_METHODS if self._any_origin else CORS_METHODS
        answer = [("vary", PREFLIGHT_VARY)]
        failures = []
        if self._any_origin:
            answer.append(("access-control-allow-origin", "*"))
        elif self._echoes(origin):
            answer.append(("access-control-allow-origin", origin))
        else:
            failures.append("origin")
        answer.append(("access-control-allow-methods", ", ".join(methods)))
        answer.append(("access-control-max-age", str(PREFLIGHT_MAX_AGE_S)))
        if not self._any_origin:
            answer.append(("access-control-allow-credentials", "true"))
        if headers["access-control-request-method"] not in methods:
            failures.append("method")
        if (wanted := headers.get("access-control-request-headers")) is not None:
            answer.append(("access-control-allow-headers", wanted))
        if "access-control-request-private-network" in headers:
            failures.append("private-network")
        answer.append(("content-type", "text/plain; charset=utf-8"))
        status, body = (400, "Disallowed CORS " + ", ".join(failures)) if failures else (200, "OK")
        return Response(body.encode(), status=status, content_type=None, headers=answer)


def _text(status: int, body: bytes, headers: Headers = ()) -> Response:
    # No charset: stock's middleware sends only the type here.
    return Response(body, status=status, content_type="text/plain", headers=list(headers))


def _split(text: str | None) -> list[str]:
    return [part.strip() for part in text.split(",")] if text else []
