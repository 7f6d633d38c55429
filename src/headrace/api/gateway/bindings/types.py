"""Requests and answers of bindings. Times are milliseconds since the epoch."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from headrace.contract.scalars import Message, OptionalStr, RequiredStr

SCORER = "scorer"  # the only type of resource that MLflow binds


class CreateBinding(Message):
    """POST gateway/endpoints/bindings/create"""

    endpoint_id: RequiredStr
    resource_type: Annotated[RequiredStr, Meta(extra_json_schema={"enum": [SCORER]})]
    resource_id: RequiredStr
    created_by: OptionalStr = None


class DeleteBinding(Message):
    """DELETE gateway/endpoints/bindings/delete"""

    endpoint_id: RequiredStr
    resource_type: RequiredStr
    resource_id: RequiredStr


class ListBindings(Message):
    """GET gateway/endpoints/bindings/list; each field restricts the list."""

    endpoint_id: OptionalStr = None
    resource_type: OptionalStr = None
    resource_id: OptionalStr = None


class Binding(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A resource that uses an endpoint."""

    endpoint_id: str
    resource_type: str
    resource_id: str
    created_at: int
    last_updated_at: int
    created_by: str | None = None
    last_updated_by: str | None = None
    display_name: str | None = None


class BindingAnswer(Message):
    """One binding."""

    binding: Binding


class Bindings(Message):
    """The bindings of a list."""

    bindings: list[Binding] = []
