"""The rules of scorers that depend on a request. No I/O."""

from __future__ import annotations

from typing import Any, Final

from headrace.auth.rules import Need, needs

# Stock lets everyone name any endpoint. A scorer that scores new traces calls it with the login of
# the server, not that of a user, so nobody would check whether its author may use the endpoint.
USES_ENDPOINT: Final = needs(
    Need("gateway_endpoint", "use", "name", named="endpoint_name"),
    Need("gateway_endpoint", "use", "endpoint_id"),
)


def names_version(req: Any) -> bool:
    """Whether a request concerns one version of a scorer."""
    return req.version is not None


def names_scorer(req: Any) -> bool:
    """Whether a request concerns a scorer with all its versions."""
    return req.version is None
