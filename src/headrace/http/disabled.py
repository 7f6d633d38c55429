"""The answers of routes whose feature is switched off."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from headrace.http.codec import encode
from headrace.http.messages import Response

if TYPE_CHECKING:
    from headrace.api.results import Disabled


def disabled(why: Disabled, route_path: str, path: str, prefix: str) -> Response:
    """503 for a request to `path`, with MLflow's text; `prefix` is the static prefix, or empty."""
    if why.as_json:
        return Response(encode({"detail": why.reason}), status=503)
    # The route as stock's router writes it: <name>, <path:name>.
    shown = re.sub(r"\{(\w+):path\}", r"<path:\1>", route_path)
    shown = re.sub(r"\{(\w+)\}", r"<\1>", shown)
    if shown.startswith("/api/") and path.startswith("/ajax-api/"):
        shown = "/ajax-api/" + shown.removeprefix("/api/")
    return Response(
        f"Endpoint: {prefix}{shown} {why.reason}".encode(errors="replace"),
        status=503,
        content_type="text/html; charset=utf-8",
    )
