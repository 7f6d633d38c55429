"""The events of the model registry that webhooks receive, and the data of each.

The names and order of the fields are MLflow's, because receivers parse them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headrace.api.context import Context
from headrace.api.nouns import Event
from headrace.api.registry.models.lookup import is_prompt, merged
from headrace.api.registry.models.types import CreateRegisteredModel
from headrace.contract.names import IS_PROMPT

PROMPT_TEXT: Final = "mlflow.prompt.text"
PROMPT_TYPE: Final = "_mlflow_prompt_type"
Data = Mapping[str, Any]

MODEL_CREATED: Final[Event] = ("registered_model", "created")
VERSION_CREATED: Final[Event] = ("model_version", "created")
VERSION_TAG_SET: Final[Event] = ("model_version_tag", "set")
VERSION_TAG_DELETED: Final[Event] = ("model_version_tag", "deleted")
ALIAS_CREATED: Final[Event] = ("model_version_alias", "created")
ALIAS_DELETED: Final[Event] = ("model_version_alias", "deleted")
PROMPT_CREATED: Final[Event] = ("prompt", "created")
PROMPT_VERSION_CREATED: Final[Event] = ("prompt_version", "created")
PROMPT_TAG_SET: Final[Event] = ("prompt_tag", "set")
PROMPT_TAG_DELETED: Final[Event] = ("prompt_tag", "deleted")
PROMPT_VERSION_TAG_SET: Final[Event] = ("prompt_version_tag", "set")
PROMPT_VERSION_TAG_DELETED: Final[Event] = ("prompt_version_tag", "deleted")
PROMPT_ALIAS_CREATED: Final[Event] = ("prompt_alias", "created")
PROMPT_ALIAS_DELETED: Final[Event] = ("prompt_alias", "deleted")
BUDGET_EXCEEDED: Final[Event] = ("budget_policy", "exceeded")

_TAG: Final = {"key": "example_key", "value": "example_value"}
_MODEL: Final = {"name": "example_model"}
_PROMPT: Final = {"name": "example_prompt"}
_FIRST: Final = {"version": "1"}
_ALIAS: Final = {"alias": "example_alias"}
_TAGS: Final = {"tags": {"example_key": "example_value"}}

# The data that a test delivers, for every event.
EXAMPLES: Final[dict[Event, Data]] = {
    MODEL_CREATED: _MODEL | _TAGS | {"description": "An example registered model"},
    VERSION_CREATED: {
        **_MODEL,
        **_FIRST,
        "source": "models:/123",
        "run_id": "abcd1234abcd5678",
        **_TAGS,
        "description": "An example model version",
    },
    VERSION_TAG_SET: _MODEL | _FIRST | _TAG,
    VERSION_TAG_DELETED: _MODEL | _FIRST | {"key": "example_key"},
    ALIAS_CREATED: _MODEL | _ALIAS | _FIRST,
    ALIAS_DELETED: _MODEL | _ALIAS,
    PROMPT_CREATED: _PROMPT | _TAGS | {"description": "An example prompt"},
    PROMPT_VERSION_CREATED: {
        **_PROMPT,
        **_FIRST,
        "template": "Hello {{name}}!",
        **_TAGS,
        "description": "An example prompt version",
    },
    PROMPT_TAG_SET: _PROMPT | _TAG,
    PROMPT_TAG_DELETED: _PROMPT | {"key": "example_key"},
    PROMPT_VERSION_TAG_SET: _PROMPT | _FIRST | _TAG,
    PROMPT_VERSION_TAG_DELETED: _PROMPT | _FIRST | {"key": "example_key"},
    PROMPT_ALIAS_CREATED: _PROMPT | _ALIAS | _FIRST,
    PROMPT_ALIAS_DELETED: _PROMPT | _ALIAS,
    BUDGET_EXCEEDED: {
        "budget_policy_id": "bp-abc123",
        "budget_unit": "USD",
        "budget_amount": 100.0,
        "current_spend": 105.5,
        "duration_unit": "MONTHS",
        "duration_value": 1,
        "target_scope": "ENDPOINT",
        "workspace": "default",
        "target_value": "ep-abc123",
        "window_start": 1704067200000,
    },
}


def model_created(ctx: Context, req: CreateRegisteredModel) -> None:
    """Announce a new registered model or prompt."""
    tags, event = merged(req.tags), MODEL_CREATED
    if is_prompt(tags):
        event = PROMPT_CREATED
        tags = {k: v for k, v in tags.items() if k not in (IS_PROMPT, PROMPT_TYPE)}
    ctx.announce(event, {"name": req.name, "tags": tags, "description": req.description or ""})


def version_created(
    ctx: Context, name: str, version: str, source: str, run_id: str, tags: dict[str, str], text: str
) -> None:
    """Announce a new version of a model or prompt; `text` is its description."""
    event, data = VERSION_CREATED, {"source": source, "run_id": run_id or None}
    if is_prompt(tags):
        event, data = PROMPT_VERSION_CREATED, {"template": tags.get(PROMPT_TEXT)}
        internal = (IS_PROMPT, PROMPT_TYPE, PROMPT_TEXT)
        tags = {k: v for k, v in tags.items() if k not in internal}
    rest = {"tags": tags, "description": text or None}
    ctx.announce(event, {"name": name, "version": version, **data, **rest})


def model_tag_set(ctx: Context, name: str, key: str, value: str) -> None:
    """Announce a tag that was set on a prompt; there is no event for other models."""
    ctx.announce(None, {"name": name, "key": key, "value": value}, PROMPT_TAG_SET)


def model_tag_deleted(ctx: Context, name: str, key: str) -> None:
    """Announce a tag that was deleted from a prompt; there is no event for other models."""
    ctx.announce(None, {"name": name, "key": key}, PROMPT_TAG_DELETED)


def version_tag_set(ctx: Context, name: str, version: str, key: str, value: str) -> None:
    """Announce a tag that was set on a version."""
    data = {"name": name, "version": version, "key": key, "value": value}
    ctx.announce(VERSION_TAG_SET, data, PROMPT_VERSION_TAG_SET)


def version_tag_deleted(ctx: Context, name: str, version: str, key: str) -> None:
    """Announce a tag that was deleted from a version."""
    data = {"name": name, "version": version, "key": key}
    ctx.announce(VERSION_TAG_DELETED, data, PROMPT_VERSION_TAG_DELETED)


def alias_set(ctx: Context, name: str, alias: str, version: str) -> None:
    """Announce an alias that was set to a version."""
    data = {"name": name, "alias": alias, "version": version}
    ctx.announce(ALIAS_CREATED, data, PROMPT_ALIAS_CREATED)


def alias_deleted(ctx: Context, name: str, alias: str) -> None:
    """Announce an alias that was deleted."""
    ctx.announce(ALIAS_DELETED, {"name": name, "alias": alias}, PROMPT_ALIAS_DELETED)
