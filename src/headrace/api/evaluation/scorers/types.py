"""Requests and answers of scorers."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from headrace.contract.limits import MAX_SCORER
from headrace.contract.scalars import (
    NUMBER_AS_TEXT,
    ExperimentNumber,
    Int32,
    Message,
    OptionalInt32,
    OptionalStr,
    RequiredStr,
    Text,
)

NUMBER_OR_EMPTY: Final = {"pattern": rf"^$|{NUMBER_AS_TEXT['pattern']}"}
JSON_TEXT: Final = {"contentMediaType": "application/json"}
# The JSON text of an object, as MLflow's client makes it of a scorer.
Serialized = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_SCORER,
        extra={"checks": ("required", "string")},
        extra_json_schema=JSON_TEXT,
    ),
]


class RegisterScorer(Message):
    """POST scorers/register"""

    experiment_id: ExperimentNumber
    name: RequiredStr
    serialized_scorer: Serialized


class ListScorers(Message):
    """GET scorers/list: those of one experiment, of some, or of all active ones."""

    experiment_id: Annotated[OptionalStr, Meta(extra_json_schema=NUMBER_OR_EMPTY)] = None
    experiment_ids: Annotated[
        list[Annotated[Text, Meta(extra_json_schema=NUMBER_AS_TEXT)]] | None,
        Meta(extra={"checks": ("array", "item_type_string")}),
    ] = None


class ScorerName(Message):
    """GET scorers/versions"""

    experiment_id: ExperimentNumber
    name: RequiredStr


class ScorerVersionName(Message):
    """GET scorers/get and DELETE scorers/delete"""

    experiment_id: ExperimentNumber
    name: RequiredStr
    version: OptionalInt32 = None


class SetOnlineConfig(Message):
    """PUT scorers/online-config"""

    experiment_id: ExperimentNumber
    name: RequiredStr
    sample_rate: Annotated[
        float,
        Meta(extra={"checks": ("required",)}, extra_json_schema={"minimum": 0, "maximum": 1}),
    ]
    filter_string: str | None = None


class OnlineConfigIds(Message):
    """GET scorers/online-configs"""

    scorer_ids: Annotated[
        list[Text], Meta(min_length=1, extra={"checks": ("required", "array", "item_type_string")})
    ]


class RegisteredScorer(Message, omit_defaults=False):
    """A new version of a scorer; its time in milliseconds since the epoch."""

    version: int
    scorer_id: str
    experiment_id: str
    name: str
    serialized_scorer: str
    creation_time: int


class Scorer(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A version of a scorer; its time in milliseconds since the epoch."""

    experiment_id: Int32
    scorer_name: str
    scorer_version: Int32
    serialized_scorer: str
    creation_time: int | None = None
    scorer_id: str


class ScorerAnswer(Message):
    """One version of a scorer."""

    scorer: Scorer


class ScorerList(Message):
    """Scorers, without pages."""

    scorers: list[Scorer] = []


class OnlineConfig(msgspec.Struct, kw_only=True, gc=False, omit_defaults=True):
    """How often a scorer judges new traces: `sample_rate` of those that match the filter."""

    online_scoring_config_id: str
    scorer_id: str
    sample_rate: float
    experiment_id: str
    filter_string: str | None = None


class OnlineConfigAnswer(Message):
    """The configuration of one scorer."""

    config: OnlineConfig


class OnlineConfigList(Message, omit_defaults=False):
    """The configurations of some scorers."""

    configs: list[OnlineConfig]
