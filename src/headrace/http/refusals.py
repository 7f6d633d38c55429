"""The answers to requests that MLflow's basic-auth app refuses with a text, in its words."""

from __future__ import annotations

from typing import Final

from headrace.http.messages import Response

PAGE: Final = "text/html; charset=utf-8"
NOT_AUTHENTICATED: Final = (
    b"You are not authenticated. Please see "
    b"https://www.mlflow.org/docs/latest/auth/index.html#authenticating-to-mlflow "
    b"on how to authenticate."
)


def unauthenticated(challenge: str) -> Response:
    """401, with the value of WWW-Authenticate."""
    headers = [("www-authenticate", challenge)]
    return Response(NOT_AUTHENTICATED, status=401, content_type=PAGE, headers=headers)


def denied() -> Response:
    """403."""
    return Response(b"Permission denied", status=403, content_type=PAGE)


def text_refusal(text: str) -> Response:
    """400."""
    return Response(text.encode(), status=400, content_type=PAGE)
