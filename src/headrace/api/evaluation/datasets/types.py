"""Requests and answers of datasets/search."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headrace.contract.scalars import Int32, LongStr, Message, OptionalStr, Text


class SearchDatasets(Message):
    """GET or POST datasets/search; without experiments, all datasets."""

    experiment_ids: Annotated[list[Text], Meta(extra={"checks": ("array",)})] = []
    filter_string: LongStr = None
    max_results: Annotated[Int32 | None, Meta(extra={"checks": ("intlike",)})] = None
    order_by: Annotated[list[str], Meta(extra={"checks": ("array",)})] = []
    page_token: OptionalStr = None


class Dataset(Message):
    """An evaluation dataset without its records. `tags`, `schema` and `profile` are JSON texts."""

    dataset_id: str
    name: str
    tags: str
    schema: str | None = None
    profile: str | None = None
    digest: str | None = None
    created_time: int | None = None  # milliseconds since the epoch
    last_update_time: int | None = None
    created_by: str | None = None
    last_updated_by: str | None = None
