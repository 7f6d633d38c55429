"""The JSON text of a scorer: its model, and the parts that no server may run. No I/O.

A model `gateway:/NAME` is an endpoint of the AI gateway. The database has the endpoint's id instead
of its name, so that an endpoint may be renamed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from headrace.contract.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

GATEWAY: Final = "gateway"
JUDGE: Final = "instructions_judge_pydantic_data"
BASED: Final = "memory_augmented_judge_data"
OTHERS: Final = "third_party_scorer_data"
# Options of a model's client that name the host to which it connects.
DESTINATIONS: Final = frozenset(
    {"api_base", "base_url", "model_list", "fallbacks", "custom_llm_provider"}
)
EXPECTATIONS: Final = "expectations"


def parse(text: str) -> dict[str, Any]:
    """The scorer of a JSON text. Raises INVALID_PARAMETER_VALUE."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise invalid("serialized_scorer must be valid JSON") from None
    if not isinstance(found, dict):
        raise invalid("serialized_scorer must be the JSON text of an object")
    return found


def read(text: str, *, allows_code: bool) -> dict[str, Any]:
    """As `parse`, for a client's text. `allows_code`: the scorer may contain Python code.

    Raises INVALID_PARAMETER_VALUE for a scorer that no server should run.
    """
    scorer = parse(text)
    for one in _objects(scorer):
        if not allows_code and one.get("call_source") is not None:
            raise invalid(
                "This server does not accept scorers that contain code, as the decorator @scorer "
                "makes them: a user who registers one could run any code on the server. Set the "
                "environment variable MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS to true on a server "
                "whose users may do that, or use a built-in scorer or make_judge()."
            )
        others = one.get(OTHERS)
        if isinstance(others, dict):
            _check_options(others.get("kwargs"))
    return scorer


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value."""
    rest = [value]
    while rest:
        one = rest.pop()
        if isinstance(one, dict):
            yield one
            rest += one.values()
        elif isinstance(one, list):
            rest += one


def _check_options(options: Any) -> None:
    if options is not None and not isinstance(options, dict):
        raise invalid(
            f"third_party_scorer_data.kwargs must be a JSON object, got {type(options).__name__}."
        )
    if found := sorted(_destinations(options)):
        raise invalid(
            f"third_party_scorer_data.kwargs must not contain {', '.join(map(repr, found))}: "
            "these options choose where the scorer's LLM client sends requests. Configure "
            "the judge endpoint on the server instead, for example through a gateway "
            "endpoint ('gateway:/<name>') or the provider's environment variables."
        )


def _destinations(options: Any) -> set[str]:
    found: set[str] = set()
    rest = [options]
    while rest:
        one = rest.pop()
        if isinstance(one, dict):
            found |= DESTINATIONS & one.keys()
            rest += one.values()
        elif isinstance(one, list):
            rest += one
            # Python makes an object of a list of pairs too.
            pairs = (x for x in one if isinstance(x, list) and len(x) == 2)
            found |= {x[0] for x in pairs if isinstance(x[0], str) and x[0] in DESTINATIONS}
    return found


def _part(scorer: Mapping[str, Any]) -> dict[str, Any] | None:
    """The part of a scorer that has its model. Raises INVALID_PARAMETER_VALUE."""
    place: Any = scorer
    while place:
        if not isinstance(place, dict):
            raise invalid("serialized_scorer must have JSON objects where a scorer has them")
        for name in (JUDGE, "builtin_scorer_pydantic_data", BASED, OTHERS):
            part = place.get(name)
            if part and not isinstance(part, dict):
                raise invalid(f"serialized_scorer must have a JSON object in {name}")
            if part and name != BASED:
                return part
            if part:
                place = part.get("base_judge")
                break
        else:
            return None
    return None


def model_of(scorer: Mapping[str, Any]) -> str | None:
    """The model that a scorer uses. Raises INVALID_PARAMETER_VALUE."""
    part = _part(scorer)
    model = None if part is None else part.get("model")
    if model is None:
        return None
    if not isinstance(model, str):
        raise invalid(f"Scorer model must be a string, got {type(model).__name__}.")
    if not model.strip():
        raise invalid("Scorer model cannot be empty or contain only whitespace.")
    return model


def endpoint_of(model: str | None) -> str | None:
    """The name or id of the gateway's endpoint that a model is."""
    provider, _, path = (model or "").partition(":/")
    return path.lstrip("/") or None if provider == GATEWAY else None


def with_endpoint(scorer: dict[str, Any], endpoint: str | None) -> str:
    """The JSON text of a scorer that uses an endpoint, with another name or id of it.

    None: the endpoint does not exist any more.
    """
    part = _part(scorer)
    assert part is not None, "it has a model"
    part["model"] = None if endpoint is None else f"{GATEWAY}:/{endpoint}"
    return json.dumps(scorer)


def may_expect(scorer: Mapping[str, Any]) -> bool:
    """Whether a scorer is made of instructions that may refer to expectations."""
    judge = scorer.get(JUDGE)
    if scorer.get("builtin_scorer_class") or not isinstance(judge, dict):
        return False
    return EXPECTATIONS in str(judge.get("instructions"))
