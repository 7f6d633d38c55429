"""Requests and answers of evaluation datasets and their records."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headrace.contract.limits import SEARCH_MAX_RESULTS
from headrace.contract.scalars import (
    Int32,
    LongStr,
    Message,
    OptionalInt32,
    OptionalStr,
    RequiredStr,
    Text,
    UncheckedStr,
)

Ids = Annotated[list[Text], Meta(extra={"checks": ("array",)})]
# The JSON text of an object or a list; the handler reads it.
JsonText = Annotated[
    str,
    Meta(
        min_length=1,
        extra={"checks": ("required", "string")},
        extra_json_schema={"contentMediaType": "application/json"},
    ),
]


class SearchDatasets(Message):
    """GET or POST datasets/search; without experiments, all datasets."""

    experiment_ids: Ids = []
    filter_string: LongStr = None
    max_results: Annotated[
        Int32 | None,
        Meta(
            extra={"checks": ("intlike",)},
            extra_json_schema={"minimum": 1, "maximum": SEARCH_MAX_RESULTS},
        ),
    ] = None
    order_by: Annotated[list[str], Meta(extra={"checks": ("array",)})] = []
    page_token: OptionalStr = None


class CreateDataset(Message):
    """POST datasets/create; `tags` is the JSON text of an object, the last five fields are ignored."""

    __kept_ids__ = ("experiment_ids",)  # stored as they are

    name: RequiredStr
    experiment_ids: Ids = []
    tags: LongStr = None
    source_type: str | int | None = None
    source: str | None = None
    schema: str | None = None
    profile: str | None = None
    created_by: str | None = None


class DatasetId(Message):
    """GET and DELETE datasets/{dataset_id}: the id is in the path."""

    dataset_id: UncheckedStr = None
    page_token: UncheckedStr = None  # of a GET; ignored


class DatasetTags(Message):
    """PATCH datasets/{dataset_id}/tags; `tags` is the JSON text of an object."""

    tags: JsonText
    dataset_id: UncheckedStr = None


class DatasetTag(Message):
    """DELETE datasets/{dataset_id}/tags/{key}"""

    dataset_id: UncheckedStr = None
    key: UncheckedStr = None


class DatasetExperiments(Message):
    """POST datasets/{dataset_id}/add-experiments and remove-experiments"""

    experiment_ids: Ids = []
    dataset_id: UncheckedStr = None


class UpsertRecords(Message):
    """POST datasets/{dataset_id}/records; `records` is the JSON text of a list of objects."""

    records: JsonText
    dataset_id: UncheckedStr = None
    updated_by: UncheckedStr = None  # ignored


class ListRecords(Message):
    """GET datasets/{dataset_id}/records"""

    max_results: Annotated[OptionalInt32, Meta(extra_json_schema={"minimum": 0})] = None
    page_token: OptionalStr = None
    dataset_id: UncheckedStr = None


class DeleteRecords(Message):
    """DELETE datasets/{dataset_id}/records"""

    dataset_record_ids: Ids = []
    dataset_id: UncheckedStr = None


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
    experiment_ids: list[str] = []  # only in the answer to its creation


class DatasetAnswer(Message):
    """One dataset."""

    dataset: Dataset


class ExperimentIds(Message):
    """The experiments of a dataset, in the order in which it was added to them."""

    experiment_ids: list[str] = []


class UpsertedRecords(Message, omit_defaults=False):
    """The number of records that were new, and of those whose inputs the dataset had already."""

    inserted_count: int
    updated_count: int


class DeletedRecords(Message, omit_defaults=False):
    """The number of records that existed."""

    deleted_count: int


class RecordPage(Message):
    """A page of records; `records` is the JSON text of a list."""

    records: str
    next_page_token: str | None = None
