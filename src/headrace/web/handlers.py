"""Handlers of the web page: MLflow's if the mlflow package is installed, else headrace's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headrace.api.results import NotNative
from headrace.bridge.routes import listing
from headrace.contract.limits import MAX_GRAPHQL_BYTES
from headrace.http.messages import Request, Response, html
from headrace.web.bundle import bundle
from headrace.web.files import send
from headrace.web.landing import landing_page, listing_page

if TYPE_CHECKING:
    from headrace.api.context import Context

ONE_YEAR_S: Final = 365 * 24 * 3600
IMMUTABLE: Final = f"public, max-age={ONE_YEAR_S}, immutable"
# Stock lets browsers cache unhashed names for 28 days too. After an upgrade, the cached index.html
# of the notebook renderer asks for scripts that no longer exist. A revalidation costs one 304.
REVALIDATE: Final = "no-cache"


async def index(request: Request, ctx: Context) -> Response:
    """GET /

    MLflow's page, or headrace's if mlflow is not installed. Always revalidated.
    """
    page = bundle().get("index.html")
    if page is None:
        return landing_page(ctx.db)
    return await send(request, page, REVALIDATE)


async def api_listing(request: Request, ctx: Context) -> Response:
    """GET /headrace/api

    Every route, and whether headrace or stock MLflow answers it.
    """
    return listing_page(listing(ctx.routes))


async def openapi(request: Request, ctx: Context) -> Response:
    """GET /openapi.json

    The native routes and their types, as OpenAPI 3.1.
    """
    from headrace.api.openapi import document  # imported here to save start-up time

    return Response(document(ctx.routes))


async def static_file(request: Request, ctx: Context) -> Response:
    """GET /static-files/{path}

    A file of the page, with ETags, ranges, and gzip if accepted. 404 for any other name.
    """
    found = bundle().get(request.path_args["path"])
    if found is None:
        return not_found()
    return await send(request, found, IMMUTABLE if found.hashed else REVALIDATE)


async def build_file(request: Request, ctx: Context) -> Response:
    """GET /build/{path}

    The same files under the name that stock's web framework gives them; always revalidated.
    """
    found = bundle().get(request.path_args["path"])
    if found is None:
        return not_found()
    return await send(request, found, REVALIDATE)


async def query_without_body(request: Request, ctx: Context) -> Response:
    """GET /graphql

    Without a body 400, where stock answers 500. Stock answers queries in a body.
    """
    if await request.body(MAX_GRAPHQL_BYTES):
        raise NotNative
    return html(
        400,
        "Bad Request",
        "The browser (or proxy) sent a request that this server could not understand.",
    )


async def not_implemented(request: Request, ctx: Context) -> Response:
    """GET /2.0/mlflow/unified-traces, /2.0/mlflow/get-online-trace-details, POST /2.0mlflow/experiments/search-datasets

    404, as every MLflow server answers: they are declared for another product.
    """
    return Response(status=404, content_type="text/html; charset=utf-8")


def not_found() -> Response:
    """The 404 answer of stock's routing layer."""
    return html(
        404,
        "Not Found",
        "The requested URL was not found on the server. If you entered the URL manually please "
        "check your spelling and try again.",
    )
