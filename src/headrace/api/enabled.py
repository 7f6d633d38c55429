"""The route table under `--no-serve-artifacts`, `--artifacts-only`, `--registry-store-uri`, and without
`--enable-workspaces`.

A route that an option disables stays in the table: it answers 503 and names the option that enables
it. The routes of a model registry in a separate database are left to MLflow, because headrace opens
only one database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, NoReturn

from headrace.api.context import Context
from headrace.api.results import Disabled
from headrace.api.route import Route
from headrace.auth.rules import OPEN
from headrace.bridge.routes import listing
from headrace.contract.scalars import PathOnly
from headrace.settings import defaults

if TYPE_CHECKING:
    from headrace.settings.table import Settings

ARTIFACTS: Final = "/api/2.0/mlflow-artifacts/"
OBJECTS: Final = ARTIFACTS + "artifacts/"
UNPREFIXED: Final = (OBJECTS, "/ajax-api/" + OBJECTS.removeprefix("/api/"))
# Answered in every mode, as by stock MLflow.
ALWAYS: Final = frozenset(
    {
        "/health",
        "/version",
        "/livez",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/",
        "/api/3.0/mlflow/server-info",
        "/ajax-api/3.0/mlflow/ui-telemetry",
    }
)
WORKSPACES: Final = "/api/3.0/mlflow/workspaces"
OIDC: Final = "/oidc/"
# Stock answers these with FastAPI, as it does `UNPREFIXED`.
FASTAPI: Final = (
    "/gateway/",
    "/v1/traces",
    "/ajax-api/3.0/jobs",
    "/ajax-api/3.0/mlflow/assistant",
    "/api/3.0/mlflow/mcp-servers",
    "/ajax-api/3.0/mlflow/mcp-servers",
)
REGISTRY: Final = (
    "/api/2.0/mlflow/registered-models/",
    "/api/2.0/mlflow/model-versions/",
    "/api/2.0/mlflow/webhooks",
    "/model-versions/",
    "/graphql",  # shows the model versions of a run
)
# The routes of users do not depend on the mode either.
USERS: Final = (
    "/signup",
    "/api/2.0/mlflow/users/",
    "/api/3.0/mlflow/users/",
    "/api/3.0/mlflow/roles/",
)
NO_SERVE: Final = (
    "disabled due to the mlflow server running with `--no-serve-artifacts`. To enable artifacts "
    "server functionality, run `mlflow server` with `--serve-artifacts`"
)
ONLY: Final = (
    "disabled due to the mlflow server running in `--artifacts-only` mode. To enable tracking "
    "server functionality, run `mlflow server` without `--artifacts-only`"
)
NO_WORKSPACES: Final = (
    "disabled because the server is running without workspaces support. To enable workspace, run "
    "`mlflow server` with `--enable-workspaces`"
)
NO_OBJECTS: Final = (
    "Artifact serving is disabled. Run `mlflow server` with `--serve-artifacts` to enable."
)


def stays_unprefixed(method: str, path: str) -> bool:
    """Whether a request is also answered without the static prefix, like stock's native routes."""
    return method in ("GET", "PUT") and path.startswith(UNPREFIXED)


def refused_in_plain_text(method: str, path: str) -> bool:
    """Whether 401 and 403 are plain text here: stock answers these routes with FastAPI."""
    return stays_unprefixed(method, path) or path.startswith(FASTAPI)


def served(routes: Iterable[Route], settings: Settings) -> Iterator[Route]:
    """Yield the routes; those that the mode disables answer 503."""
    native = tuple(routes)
    if not (settings.metrics or settings.expose_prometheus):
        native = tuple(route for route in native if route.path != "/metrics")
    if not settings.has_page_login:
        native = tuple(route for route in native if not route.path.startswith(OIDC))
    if registry_apart(settings):
        native = tuple(route for route in native if not route.path.startswith(REGISTRY))
    for route in native:
        if route.path.startswith(ARTIFACTS):
            yield route if settings.serve_artifacts else _without_artifacts(route)
        elif route.path.startswith(WORKSPACES) and not settings.enable_workspaces:
            yield Route(route.method, route.path, _no_workspaces, route.rule)
        elif settings.artifacts_only and not _in_every_mode(route.path):
            yield Route(route.method, route.path, _artifacts_only, route.rule)
        else:
            yield route
    if settings.artifacts_only:
        for method, path, is_native in listing(native):
            if not is_native:
                yield Route(method, path, _artifacts_only, OPEN)


def registry_apart(settings: Settings) -> bool:
    """Whether the model registry is in a different database from the one that headrace opens."""
    return not settings.artifacts_only and not defaults.same_database(
        settings.backend_store_uri, settings.registry_store_uri
    )


def _in_every_mode(path: str) -> bool:
    return path in ALWAYS or path.startswith(("/static-files", *USERS))


def _without_artifacts(route: Route) -> Route:
    is_object = route.path.startswith(OBJECTS) and route.method in ("GET", "PUT")
    return Route(route.method, route.path, _no_objects if is_object else _no_artifacts, route.rule)


async def _no_objects(req: PathOnly, ctx: Context) -> NoReturn:
    raise Disabled(NO_OBJECTS, as_json=True)


async def _no_artifacts(req: PathOnly, ctx: Context) -> NoReturn:
    raise Disabled(NO_SERVE)


async def _no_workspaces(req: PathOnly, ctx: Context) -> NoReturn:
    raise Disabled(NO_WORKSPACES)


async def _artifacts_only(req: PathOnly, ctx: Context) -> NoReturn:
    raise Disabled(ONLY)
