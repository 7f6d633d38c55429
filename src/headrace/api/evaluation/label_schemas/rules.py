"""The rules of label schemas. No I/O."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from headrace.contract.errors import ApiError, ErrorCode, invalid

if TYPE_CHECKING:
    from headrace.api.evaluation.label_schemas.sql import SchemaRow
    from headrace.api.evaluation.label_schemas.types import InputIn

MAX_NAME: Final = 250  # characters; mlflow/genai/label_schemas/validation.py has these limits
MAX_INSTRUCTION: Final = 1000  # characters
MAX_LABEL: Final = 64  # characters of a label or an option
MAX_OPTIONS: Final = 10
DEFAULT_NAME: Final = "Feedback"
DEFAULT_INSTRUCTION: Final = "Share any feedback on this trace."
# MLflow's names of the kinds of input.
CLASSES: Final = {
    "pass_fail": "InputPassFail",
    "categorical": "InputCategorical",
    "numeric": "InputNumeric",
    "text": "InputText",
}


def name_taken(name: str, experiment_id: object) -> ApiError:
    """Another schema of the experiment has the name."""
    return ApiError(
        ErrorCode.RESOURCE_ALREADY_EXISTS,
        f"Label schema with name '{name}' already exists for experiment '{experiment_id}'.",
    )


def check_name(name: str) -> None:
    """Raise INVALID_PARAMETER_VALUE unless a schema may have the name."""
    if not name:
        raise invalid(f"Label schema `name` must be a non-empty string; got {name!r}.")
    if len(name) > MAX_NAME:
        raise invalid(
            f"Label schema `name` must be at most {MAX_NAME} characters; got {len(name)}."
        )
    if name.strip().lower() == DEFAULT_NAME.lower():
        raise invalid(
            f"`{name}` is reserved for the experiment's default question and cannot be used "
            "for another label schema."
        )


def check_instruction(instruction: str | None) -> None:
    """Raise INVALID_PARAMETER_VALUE for an instruction that is too long."""
    if instruction is not None and len(instruction) > MAX_INSTRUCTION:
        raise invalid(
            f"Label schema `instruction` must be at most {MAX_INSTRUCTION} characters; "
            f"got {len(instruction)}."
        )


def kind_of(given: InputIn | None) -> str:
    """Return the kind of an input, without checking it. Raises INVALID_PARAMETER_VALUE."""
    found = [name for name in CLASSES if getattr(given, name, None) is not None]
    if not found:
        raise invalid(
            "Label schema `input` must have exactly one of `pass_fail`, `categorical`, "
            "`numeric`, or `text` set; got an empty oneof."
        )
    if len(found) > 1:
        raise invalid(f"Label schema `input` must have exactly one kind; got {', '.join(found)}.")
    return found[0]


def config_of(given: InputIn, kind: str) -> dict[str, Any]:
    """Return an input of this kind as the database stores it. Raises INVALID_PARAMETER_VALUE."""
    if kind == "pass_fail":
        assert given.pass_fail is not None, "it is of this kind"
        labels = {
            "positive_label": given.pass_fail.positive_label or "",
            "negative_label": given.pass_fail.negative_label or "",
        }
        _check_labels(labels)
        return labels
    if kind == "categorical":
        assert given.categorical is not None, "it is of this kind"
        _check_options(given.categorical.options)
        return {
            "options": given.categorical.options,
            "multi_select": bool(given.categorical.multi_select),
        }
    if kind == "numeric":
        assert given.numeric is not None, "it is of this kind"
        low, high = given.numeric.min_value, given.numeric.max_value
        _check_bounds(low, high)
        return {"min_value": low, "max_value": high}
    assert given.text is not None, "it is of this kind"
    length = given.text.max_length
    if length is not None and length < 1:
        raise invalid(f"`InputText.max_length` must be at least 1; got {length}.")
    return {"max_length": length}


def _check_labels(labels: dict[str, str]) -> None:
    for name, label in labels.items():
        if not label:
            raise invalid(f"`InputPassFail.{name}` must be a non-empty string; got {label!r}.")
        if len(label) > MAX_LABEL:
            raise invalid(
                f"`InputPassFail.{name}` must be at most {MAX_LABEL} characters; got {len(label)}."
            )
    positive, negative = labels.values()
    if positive == negative:
        raise invalid(
            "`InputPassFail.positive_label` and `negative_label` must be distinct; "
            f"got {positive!r} for both."
        )


def _check_options(options: list[str]) -> None:
    if not options:
        raise invalid(f"`InputCategorical.options` must be a non-empty list; got {options!r}.")
    if len(options) > MAX_OPTIONS:
        raise invalid(
            f"`InputCategorical.options` must have at most {MAX_OPTIONS} entries; "
            f"got {len(options)}."
        )
    for n, option in enumerate(options):
        if not option:
            raise invalid(
                f"`InputCategorical.options` entries must be non-empty strings; got {option!r}."
            )
        if len(option) > MAX_LABEL:
            raise invalid(
                f"`InputCategorical.options` entries must be at most {MAX_LABEL} characters; "
                f"got {len(option)} for {option!r}."
            )
        if option in options[:n]:
            raise invalid(
                f"`InputCategorical.options` must be deduplicated; {option!r} appears twice."
            )


def _check_bounds(low: float | None, high: float | None) -> None:
    for name, value in (("min_value", low), ("max_value", high)):
        if value is not None and not math.isfinite(value):
            raise invalid(f"`InputNumeric.{name}` must be finite; got {value}.")
    if low is not None and high is not None and low >= high:
        raise invalid(
            "`InputNumeric.min_value` must be strictly less than `max_value`; "
            f"got min={low}, max={high}."
        )


def check_same_kind(stored: SchemaRow, kind: str, config: dict[str, Any]) -> None:
    """Raise INVALID_PARAMETER_VALUE for an update that changes what answers mean."""
    if stored.input_type != kind:
        raise invalid(
            "A label schema's input type cannot be changed after creation "
            f"(existing: {CLASSES.get(stored.input_type, stored.input_type)}, got: {CLASSES[kind]})."
        )
    if kind == "categorical":
        known = bool(json.loads(stored.input_config).get("multi_select"))
        if known != config["multi_select"]:
            raise invalid("`InputCategorical.multi_select` cannot be changed after creation.")
