"""The answers to requests that MLflow's basic-auth app refuses with a text, in its words."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from headrace.http.messages import Request, Response

PLAIN: Final = "text/plain; charset=utf-8"  # of the routes that stock answers with FastAPI
PAGE: Final = "text/html; charset=utf-8"
NOT_AUTHENTICATED: Final = (
    b"You are not authenticated. Please see "
    b"https://www.mlflow.org/docs/latest/auth/index.html#authenticating-to-mlflow "
    b"on how to authenticate."
)


def unauthenticated(challenge: str, content_type: str = PAGE) -> Response:
    """401, with the value of WWW-Authenticate."""
    headers = [("www-authenticate", challenge)]
    return Response(NOT_AUTHENTICATED, status=401, content_type=content_type, headers=headers)


def login_needed(request: Request, prefix: str, challenge: str) -> Response:
    """401 on a server where browsers log in at a provider; opening a page leads there.

    The challenge for scripts of a page is not Basic, because the browser would ask for a password.
    """
    headers = request.headers
    opens = request.method == "GET" and headers.get("sec-fetch-mode", "navigate") == "navigate"
    if opens and "text/html" in headers.get("accept", "") and "authorization" not in headers:
        url = f"{prefix}/oidc/login?next={quote(request.target, safe='/')}"
        found = [("location", url), ("cache-control", "no-store")]
        return Response(status=302, content_type=None, headers=found)
    return unauthenticated('Bearer realm="mlflow"' if "sec-fetch-mode" in headers else challenge)


def denied(content_type: str = PAGE) -> Response:
    """403."""
    return Response(b"Permission denied", status=403, content_type=content_type)


def text_refusal(text: str) -> Response:
    """400."""
    return Response(text.encode(errors="replace"), status=400, content_type=PAGE)
