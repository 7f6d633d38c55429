"""Requests and answers of the lists of providers and models."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headrace.contract.scalars import DEMANDED, Message, Text, UncheckedStr


class ListModels(Message):
    """GET gateway/supported-models"""

    provider: UncheckedStr = None


class ProviderConfig(Message):
    """GET gateway/provider-config"""

    provider: Annotated[Text | None, Meta(extra=DEMANDED, extra_json_schema={"minLength": 1})] = (
        None
    )


class Providers(msgspec.Struct):
    """The names of the providers, in order."""

    providers: list[str]


class Model(msgspec.Struct, kw_only=True):
    """A model that answers with text or vectors. Costs are US dollars per token, null if unknown."""

    deprecation_date: str | None = None
    input_cost_per_token: float | None = None
    last_updated_at: str | None = None
    max_input_tokens: int | float | None = None
    max_output_tokens: int | float | None = None
    modality: dict[str, Any] | None = None
    mode: str | None = None
    model: str
    output_cost_per_token: float | None = None
    provider: str
    supports_function_calling: bool = False
    supports_prompt_caching: bool = False
    supports_reasoning: bool = False
    supports_response_schema: bool = False
    supports_vision: bool = False


class Models(msgspec.Struct):
    """Models, in the order of the catalogue's files."""

    models: list[Model]


class ProviderField(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A setting of a provider."""

    default: str | None = None
    description: str
    name: str
    required: bool
    type: str = msgspec.field(default_factory=lambda: "string")


class AuthMode(msgspec.Struct, kw_only=True):
    """A way to authenticate with a provider, and the settings that it needs."""

    config_fields: list[ProviderField]
    description: str
    display_name: str
    mode: str
    secret_fields: list[ProviderField]


class ProviderModes(msgspec.Struct, kw_only=True):
    """The ways to authenticate with a provider."""

    auth_modes: list[AuthMode]
    default_mode: str
