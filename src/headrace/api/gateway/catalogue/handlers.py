"""Handlers of the lists of providers and models, from the files of the installed mlflow package.

Without the package, or with one that has no catalogue, MLflow would have to answer them.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from pathlib import Path
from typing import Final

from headrace.api.context import Context
from headrace.api.gateway.catalogue import files
from headrace.api.gateway.catalogue.files import Catalogue, StatedField, StatedMode
from headrace.api.gateway.catalogue.types import (
    AuthMode,
    ListModels,
    Models,
    ProviderConfig,
    ProviderField,
    ProviderModes,
    Providers,
)
from headrace.api.gateway.nouns import check_enabled
from headrace.api.results import Line, NotNative
from headrace.contract.errors import invalid
from headrace.contract.scalars import PathOnly
from headrace.otlp.prices import mlflow_directory, own_catalogs

API_KEY: Final = "api_key"
BEDROCK: Final = ("bedrock", "bedrock_converse")


@lru_cache(maxsize=4)
def _catalogue_at(package: Path, own: Path | None, allowed: frozenset[str] | None) -> Catalogue:
    return Catalogue(package, own, allowed)


def _catalogue(ctx: Context) -> Catalogue:
    """The catalogue, in a thread. Raises NotNative without one."""
    package = mlflow_directory()
    allowed = files.allowed(ctx.settings.gateway_allowed_providers)
    found = None if package is None else _catalogue_at(package, own_catalogs(), allowed)
    if found is None or not found.files():
        raise NotNative
    return found


async def list_providers(req: PathOnly, ctx: Context) -> Line[Providers]:
    """GET /3.0/mlflow/gateway/supported-providers: the providers that have models, in order."""
    check_enabled(ctx)
    found = await asyncio.to_thread(lambda: _catalogue(ctx).providers())
    return Line(Providers(found))


async def list_models(req: ListModels, ctx: Context) -> Line[Models]:
    """GET /3.0/mlflow/gateway/supported-models

    The models that answer with text or vectors, of all providers or of one. The answer has 1.6 MB
    with all of them; its parts are encoded once.
    """
    check_enabled(ctx)
    found = await asyncio.to_thread(lambda: _catalogue(ctx).models(req.provider))
    return Line.of(Models, b'{"models":' + found + b"}")


async def provider_config(req: ProviderConfig, ctx: Context) -> Line[ProviderModes]:
    """GET /3.0/mlflow/gateway/provider-config

    The settings that a provider needs. Errors: INVALID_PARAMETER_VALUE (no provider, or one that
    the server does not allow).
    """
    check_enabled(ctx)
    if not req.provider:
        raise invalid("Provider parameter is required")
    return Line(await asyncio.to_thread(_config, ctx, req.provider))


def _config(ctx: Context, named: str) -> ProviderModes:
    catalogue = _catalogue(ctx)
    if not catalogue.allows(named):
        raise invalid(f"Provider '{named}' is not allowed by the current gateway provider policy.")
    provider = files.normal(named.lower())
    modes = catalogue.auth_modes(BEDROCK[0] if provider in BEDROCK else provider)
    if modes is None:
        raise NotNative
    modes = modes or {API_KEY: _usual(provider.title())}
    default = next((mode for mode, stated in modes.items() if stated.default), None)
    return ProviderModes(
        auth_modes=[_mode(mode, stated) for mode, stated in modes.items()],
        default_mode=default or next(iter(modes)),
    )


def _usual(title: str) -> StatedMode:
    """The only mode of the providers that the package does not list."""
    key = StatedField(API_KEY, f"{title} API Key", secret=True)
    base = StatedField("api_base", f"{title} API Base URL", required=False)
    return StatedMode("API Key", f"Use {title} API Key", [key, base])


def _mode(mode: str, stated: StatedMode) -> AuthMode:
    return AuthMode(
        mode=mode,
        display_name=stated.display_name,
        description=stated.description,
        secret_fields=[_field(field) for field in stated.fields if field.secret],
        config_fields=[_field(field) for field in stated.fields if not field.secret],
    )


def _field(stated: StatedField) -> ProviderField:
    return ProviderField(
        name=stated.name,
        description=stated.description,
        required=stated.required,
        default=stated.default,
    )
