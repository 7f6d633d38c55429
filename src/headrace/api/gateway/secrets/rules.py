"""The rules of a secret's values. Source: mlflow/utils/validation.py (3.17.2)."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import urlsplit

from headrace.api.context import Context
from headrace.api.hosts import RESOLVE_TIMEOUT_S, resolved, too_slow
from headrace.contract.errors import invalid
from headrace.settings.masking import masked

API_BASE: Final = "api_base"
NAME: Final = "Gateway secret api_base"
# They choose the host that the gateway sends requests to; only `api_base` may, because it is checked.
DESTINATIONS: Final = frozenset(
    {API_BASE, "base_url", "model_list", "fallbacks", "custom_llm_provider"}
)


def check_value(value: Mapping[str, str]) -> None:
    """Raise INVALID_PARAMETER_VALUE for names in the encrypted value that choose a host."""
    if reserved := _named(DESTINATIONS & value.keys()):
        raise invalid(
            f"secret_value must not contain {reserved}: these keys choose where the gateway sends "
            "requests. Set the upstream with 'api_base' in auth_config, where it is validated."
        )


async def checked_config(given: Mapping[str, str], ctx: Context) -> dict[str, str] | None:
    """The configuration to store; None if the request has none, empty if only an empty `api_base`.

    Raises INVALID_PARAMETER_VALUE.
    """
    if not given:
        return None
    if reserved := _named((DESTINATIONS - {API_BASE}) & given.keys()):
        raise invalid(
            f"auth_config must not contain {reserved}: these LiteLLM options choose where the "
            "gateway sends requests. Set the upstream with 'api_base', which is validated."
        )
    config = dict(given)
    url = config.pop(API_BASE, "").strip()
    if url:
        await _check_address(url, ctx)
        # In the place where the request has it.
        config = {name: url if name == API_BASE else text for name, text in given.items()}
    return config


def _named(names: Collection[str]) -> str:
    return ", ".join(map(repr, sorted(names)))


async def _check_address(url: str, ctx: Context) -> None:
    """Raise INVALID_PARAMETER_VALUE unless the gateway may send requests to this URL.

    Messages hide the password of a URL, which stock repeats.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise invalid(f"Invalid {NAME} {masked(url)!r}: {error!r}") from error
    schemes = {one.strip().lower() for one in ctx.settings.gateway_api_base_schemes.split(",")}
    if parts.scheme not in schemes:
        allowed = ", ".join(repr(scheme) for scheme in sorted(schemes))
        raise invalid(f"Invalid {NAME} scheme: {parts.scheme!r}. Allowed schemes are: {allowed}.")
    if parts.username or parts.password:
        raise invalid(f"{NAME} must not include embedded credentials: {masked(url)!r}")
    host = parts.hostname
    if not host:
        raise invalid(f"{NAME} must include a hostname: {url!r}")
    _check_literal(host)
    if ctx.settings.gateway_api_base_private_ips:
        return
    try:
        await asyncio.wait_for(ctx.lookups.run(_look_up, host), RESOLVE_TIMEOUT_S)
    except TimeoutError as error:
        raise too_slow(NAME, host) from error


def _look_up(host: str) -> list[str]:
    return resolved(host, None, NAME, private=False)


def _check_literal(host: str) -> None:
    """Raise for a number that is no usual spelling of an address: libraries read it differently."""
    if ":" not in host and not host.replace(".", "").isdigit():
        return
    try:
        ipaddress.ip_address(host)
    except ValueError as error:
        raise invalid(f"{NAME} host {host!r} is not a canonical IP address literal.") from error
