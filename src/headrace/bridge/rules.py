"""The rules of bridged routes, by the names that the table in bridge/routes.py uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.auth.rules import (
    ADMIN,
    ANYONE,
    Need,
    create,
    experiment,
    needs,
    scoped,
    undenied,
)

if TYPE_CHECKING:
    from headrace.auth.rules import Rule


RULES: Final[dict[str, Rule]] = {
    "anyone": ANYONE,
    "admin": ADMIN,
    "trace.start": needs(experiment("update"), undenied("trace")),
    "issues.detect": needs(
        experiment("update"), undenied("trace"), Need("gateway_secret", "use", "secret_id")
    ),
    "run.create": needs(experiment("update"), undenied("run")),
    "job.optimize": needs(
        experiment("update"), undenied("run"), undenied("scorer"), undenied("scorer_version")
    ),
    "endpoints.list": scoped("gateway_endpoint"),
    "endpoint.use": needs(Need("gateway_endpoint", "use", "endpoint_name|model")),
    "mcp.read": needs(Need("mcp_server", "read", "name")),
    "mcp.update": needs(Need("mcp_server", "update", "name")),
    "mcp.delete": needs(Need("mcp_server", "delete", "name")),
    "mcp.create": needs(create("mcp_server")),
    "mcps.list": scoped("mcp_server"),
    "mcp-version.read": needs(Need("mcp_server_version", "read", "name", "mcp_server")),
    "mcp-version.update": needs(Need("mcp_server_version", "update", "name", "mcp_server")),
    "mcp-version.delete": needs(Need("mcp_server_version", "delete", "name", "mcp_server")),
}
