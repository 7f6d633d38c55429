"""Requests and answers of secrets."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from headrace.contract.scalars import Message, OptionalStr, RequiredStr, Text

# The values of a secret by name, such as api_key. Errors must not repeat them.
SecretValue = Annotated[dict[str, Text], Meta(extra={"secret": True})]
AuthConfig = Annotated[dict[str, Text], Meta(extra={"secret": True})]


class CreateSecret(Message):
    """POST gateway/secrets/create"""

    secret_name: RequiredStr
    secret_value: Annotated[SecretValue, Meta(extra={"secret": True, "checks": ("not_null",)})] = {}
    provider: OptionalStr = None
    auth_config: AuthConfig = {}
    created_by: OptionalStr = None


class UpdateSecret(Message):
    """POST gateway/secrets/update; a field that is not set keeps its value"""

    secret_id: RequiredStr
    secret_value: SecretValue = {}
    auth_config: AuthConfig = {}
    updated_by: OptionalStr = None


class SecretId(Message):
    """GET gateway/secrets/get"""

    secret_id: RequiredStr
    secret_name: Text | None = None  # MLflow ignores it too


class DeleteSecret(Message):
    """DELETE gateway/secrets/delete"""

    secret_id: RequiredStr


class ListSecrets(Message):
    """GET gateway/secrets/list"""

    provider: OptionalStr = None


class Secret(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A secret without its value; times in milliseconds since the epoch."""

    secret_id: str
    secret_name: str
    masked_values: dict[str, str] = {}
    created_at: int
    last_updated_at: int
    provider: str | None = None
    created_by: str | None = None
    last_updated_by: str | None = None
    auth_config: dict[str, str] = {}


class SecretAnswer(Message):
    """One secret."""

    secret: Secret


class SecretList(Message):
    """All secrets that the caller may read, the oldest first."""

    secrets: list[Secret] = []


class SecretsConfig(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Whether this server can store secrets; for admins, whether their passphrase is the public one."""

    secrets_available: bool
    using_default_passphrase: bool | None = None
