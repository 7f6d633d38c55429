"""Adds MLflow's attributes to a span that another library describes in its own (conventions.py).

Attributes are stored texts (values.py), by key. Each is added only if the span lacks it.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from headrace.otlp import conventions as c
from headrace.otlp.conventions import CONVENTIONS, Convention, Key
from headrace.otlp.special import (
    claude_code_inputs,
    claude_code_kind,
    claude_code_outputs,
    claude_code_tokens,
    event_inputs,
    event_outputs,
    gemini_inputs,
    gemini_outputs,
    is_gemini,
    livekit_type,
    message_format,
    vercel_attributes,
    vercel_is_chat,
    voltagent_type,
)
from headrace.otlp.values import NOT_JSON, dump, load, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.otlp.prices import Prices
    from headrace.otlp.span import Event

Texts = dict[str, str]
_USAGE: Final = (
    ("cache_read_input_tokens", "cache_read"),
    ("cache_creation_input_tokens", "cache_write"),
)


@lru_cache(maxsize=1024)
def _is_foreign(key: str) -> bool:
    """Whether a convention may have the attribute. Keys repeat from span to span."""
    return key.startswith(c.PREFIXES)


def translate(texts: Texts, events: list[Event], prices: Prices | None) -> None:
    """Add MLflow's attributes to those of a span. `prices` None: no cost."""
    foreign = any(map(_is_foreign, texts))
    if foreign:
        _add_type(texts)
    if foreign or events:
        _add(texts, c.INPUTS, _inputs, events)
        _add(texts, c.OUTPUTS, _outputs, events)
    if foreign:
        if c.USAGE not in texts and (usage := _usage(texts)):
            texts[c.USAGE] = dump(usage)
        if c.FORMAT not in texts and (found := message_format(texts)):
            texts[c.FORMAT] = dump(found)
        if c.TOOLS not in texts and (tools := _first(texts, lambda one: _value(texts, one.tools))):
            texts[c.TOOLS] = tools
    if c.MODEL not in texts and (model := _model(texts, foreign=foreign)):
        texts[c.MODEL] = dump(model)
    if foreign and c.PROVIDER not in texts and (provider := _provider(texts)):
        texts[c.PROVIDER] = dump(provider)
    if prices is not None and c.COST not in texts and c.USAGE in texts and c.MODEL in texts:
        cost = prices.cost(
            plain(texts[c.MODEL]), plain(texts[c.USAGE]), plain(texts.get(c.PROVIDER))
        )
        if cost:
            texts[c.COST] = dump(cost)


def _first(texts: Texts, of: Callable[[Convention], Any]) -> Any:
    """The first value that a convention has."""
    return next((value for one in CONVENTIONS if (value := of(one))), None)


def _add(
    texts: Texts, target: str, of: Callable[[Texts, list[Event]], Any], events: list[Event]
) -> None:
    if target not in texts and (value := of(texts, events)):
        texts[target] = value if isinstance(value, str) else dump(value)


def checked(texts: Texts, key: str) -> str | None:
    """The text of an attribute, unless its value is empty, zero or false."""
    text = texts.get(key)
    if text is None:
        return None
    value = load(text)
    return text if value is NOT_JSON or value else None


def _value(texts: Texts, keys: tuple[Key, ...]) -> str | None:
    """The text of the first of the attributes that has a value."""
    for key in keys:
        if isinstance(key, str):
            if text := checked(texts, key):
                return text
        else:
            for name in texts:
                if key.match(name) and (text := checked(texts, name)):
                    return text
    return None


def _add_type(texts: Texts) -> None:
    present = plain(texts.get(c.SPAN_TYPE))
    if present in (None, c.UNKNOWN) and (found := _first(texts, lambda one: _type(texts, one))):
        texts[c.SPAN_TYPE] = dump(found)


def _type(texts: Texts, one: Convention) -> str | None:
    if one is c.CLAUDE_CODE:
        return one.kinds.get(claude_code_kind(texts) or "")
    if one is c.VOLTAGENT:
        return voltagent_type(texts)
    if one is c.LIVEKIT:
        return livekit_type(texts)
    if not one.kind or one.kind not in texts or (one is c.GEMINI_CLI and not is_gemini(texts)):
        return None
    kind = plain(texts[one.kind])
    return one.kinds.get(kind) if isinstance(kind, str) else None


def _inputs(texts: Texts, events: list[Event]) -> Any:
    return _first(texts, lambda one: _inputs_of(texts, one)) or event_inputs(texts, events)


def _inputs_of(texts: Texts, one: Convention) -> str | None:
    if one is c.GEMINI_CLI:
        return gemini_inputs(texts, _value(texts, one.inputs)) if is_gemini(texts) else None
    if one is c.CLAUDE_CODE:
        return claude_code_inputs(texts, checked)
    if one is c.VERCEL_AI and vercel_is_chat(texts):
        texts[c.FORMAT] = "vercel_ai"  # as stock writes it, without quotes
        inputs = vercel_attributes(texts, c.VERCEL_INPUT)
        return json.dumps(inputs) if inputs else None
    return _value(texts, one.inputs)


def _outputs(texts: Texts, events: list[Event]) -> Any:
    return _first(texts, lambda one: _outputs_of(texts, one)) or event_outputs(texts, events)


def _outputs_of(texts: Texts, one: Convention) -> str | None:
    if one is c.GEMINI_CLI:
        return gemini_outputs(_value(texts, one.outputs)) if is_gemini(texts) else None
    if one is c.CLAUDE_CODE:
        return claude_code_outputs(texts, checked)
    if one is c.VERCEL_AI and vercel_is_chat(texts):
        outputs = vercel_attributes(texts, c.VERCEL_OUTPUT)
        return json.dumps(outputs) if outputs else None
    return _value(texts, one.outputs)


_NUMBER: Final = re.compile(r"\s*[+-]?\d{1,18}\s*")


def integer(text: str | None) -> int | None:
    """The number of tokens of an attribute: an integer, or a string of one."""
    if text is None:
        return None
    value = plain(text)
    if isinstance(value, int):  # also true and false, as stock
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    return None


def _usage(texts: Texts) -> dict[str, int] | None:
    """The tokens of the first convention that has any."""
    for one in CONVENTIONS:
        if one is c.CLAUDE_CODE:
            tokens = claude_code_tokens(texts)
        else:
            tokens = {
                name: _tokens(texts, getattr(one, field), is_first=one is not c.VOLTAGENT)
                for name, field in (
                    ("input_tokens", "input_tokens"),
                    ("output_tokens", "output_tokens"),
                    ("total_tokens", "total_tokens"),
                    *_USAGE,
                )
            }
        read, written = tokens["input_tokens"], tokens["output_tokens"]
        if tokens["total_tokens"] is None and read is not None and written is not None:
            tokens["total_tokens"] = read + written
        if (read, written, tokens["total_tokens"]) != (None, None, None):
            return {name: count for name, count in tokens.items() if count is not None}
    return None


def _tokens(texts: Texts, keys: tuple[str, ...], *, is_first: bool) -> int | None:
    """The number of the first attribute that exists (`is_first`), or of the first that is not empty."""
    for key in keys:
        if key in texts and (is_first or texts[key]):
            return integer(texts[key])
    return None


def _model(texts: Texts, *, foreign: bool) -> Any:
    """The name of the model: from a convention, else from the inputs or the outputs."""
    if foreign and (text := _first(texts, lambda one: _value(texts, one.models))):
        return plain(text)
    for key in (c.INPUTS, c.OUTPUTS):
        text = texts.get(key)
        if text is None or ('"model"' not in text and "\\u" not in text):
            continue
        value = load(text)
        if isinstance(value, dict) and (model := value.get("model")):
            return model if isinstance(model, str) else None
    return None


def _provider(texts: Texts) -> Any:
    text = _first(texts, lambda one: checked(texts, one.provider))
    return plain(text) if text else None
