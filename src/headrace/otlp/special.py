"""The parts of conventions that do not fit into their table: kinds, events, formats of messages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from headrace.otlp import conventions as c
from headrace.otlp.values import dump, plain

if TYPE_CHECKING:
    from headrace.otlp.span import Event

Texts = dict[str, str]
Checked = "Callable[[Texts, str], str | None]"

# Claude Code

REDACTED: Final = "<REDACTED>"
_INTERACTION, _REQUEST, _TOOL = c.CLAUDE_CODE.kinds
_TOOL_DETAILS: Final = ("full_command", "file_path", "skill_name", "subagent_type")
_TOOL_OUTPUTS: Final = ("output", "content", "diff")


def claude_code_kind(texts: Texts) -> str | None:
    """The kind of a span of Claude Code, whose versions write it with and without the prefix."""
    kind = plain(texts.get(c.CLAUDE_CODE.kind))
    if not isinstance(kind, str):
        return None
    kind = kind if kind.startswith("claude_code.") else f"claude_code.{kind}"
    return kind if kind in c.CLAUDE_CODE.kinds else None


def claude_code_tokens(texts: Texts) -> dict[str, int | None]:
    """The tokens of a request; those of the cache are part of the input."""
    names = (
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
    )
    keys = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")
    if claude_code_kind(texts) != _REQUEST:
        return dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"))
    read, written, cached, created = (_whole(plain(texts.get(key))) for key in keys)
    if read is not None:
        read += (cached or 0) + (created or 0)
    return dict(
        zip(
            (*names[:2], "total_tokens", *names[2:]),
            (read, written, None, cached, created),
            strict=True,
        )
    )


def _whole(value: Any) -> int | None:
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _content(texts: Texts, key: str, checked: Any) -> str | None:
    text: str | None = checked(texts, key)
    return None if text is None or plain(text) == REDACTED else text


def claude_code_inputs(texts: Texts, checked: Any) -> str | None:
    """The inputs of a span of Claude Code."""
    kind = claude_code_kind(texts)
    if kind == _INTERACTION:
        return _content(texts, "user_prompt", checked) or _content(texts, "new_context", checked)
    if kind == _REQUEST:
        return _content(texts, "new_context", checked)
    if kind != _TOOL:
        return None
    if given := _content(texts, "tool_input", checked):
        return given
    details = {key: plain(text) for key in _TOOL_DETAILS if (text := _content(texts, key, checked))}
    return json.dumps(details) if details else None


def claude_code_outputs(texts: Texts, checked: Any) -> str | None:
    """The outputs of a span of Claude Code, from its attributes."""
    kind = claude_code_kind(texts)
    if kind == _REQUEST:
        return _content(texts, "response.model_output", checked)
    return _content(texts, "new_context", checked) if kind == _TOOL else None


# Gemini CLI


def is_gemini(texts: Texts) -> bool:
    """Whether the span is of Gemini CLI."""
    key, agent = c.GEMINI_AGENT
    return key in texts and plain(texts[key]) == agent


def gemini_inputs(texts: Texts, text: str | None) -> str | None:
    """The messages in the form of Gemini's SDK, which the page shows."""
    if text is None:
        return None
    value = plain(text)
    # Stock compares the stored text, which has quotes, so the role of a system prompt stays "user".
    if isinstance(value, list | str):
        return json.dumps({"contents": value})
    return text


def gemini_outputs(text: str | None) -> str | None:
    """The parts of all answers as one candidate."""
    if text is None:
        return None
    value = plain(text)
    if isinstance(value, list):
        parts: list[Any] = []
        for item in value:
            if isinstance(item, dict) and isinstance(item.get("parts"), list):
                parts += item["parts"]
        if parts:
            return json.dumps({"candidates": [{"content": {"role": "model", "parts": parts}}]})
    return text


# Vercel AI


def vercel_is_chat(texts: Texts) -> bool:
    """Whether the inputs and outputs of the span are all its attributes of a prefix."""
    key = c.VERCEL_AI.kind
    return key in texts and _unpacked(texts[key]) in c.VERCEL_CHAT


def _unpacked(text: Any, layers: int = 2) -> Any:
    """The value of a JSON text, whose value may be such a text again."""
    if not isinstance(text, str):
        return text
    value = plain(text)
    return _unpacked(value, layers - 1) if layers > 0 and value is not text else value


def vercel_attributes(texts: Texts, prefix: str) -> dict[str, Any]:
    """The attributes with the prefix, by the rest of their keys."""
    found = {
        key.removeprefix(prefix): _unpacked(text)
        for key, text in texts.items()
        if key.startswith(prefix)
    }
    if prefix == c.VERCEL_INPUT and isinstance(found.get("tools"), list):
        found["tools"] = [_unpacked(tool) for tool in found["tools"]]
    return found


# VoltAgent, LiveKit


def voltagent_type(texts: Texts) -> str | None:
    """The type of a span. A child also has the `entity.type` of its parent, so that comes second."""
    for key in c.VOLTAGENT_KINDS:
        kind = plain(texts.get(key))
        if isinstance(kind, str) and kind in c.VOLTAGENT.kinds:
            return c.VOLTAGENT.kinds[kind]
    return None


def livekit_type(texts: Texts) -> str | None:
    """The type of a span, from the attributes that it has."""
    if "gen_ai.request.model" in texts:
        return "LLM"
    if c.GENAI.kind in texts:
        kind = str(plain(texts[c.GENAI.kind])).lower()
        if kind in c.GENAI.kinds:
            return c.GENAI.kinds[kind]
    for key in texts:
        if key == "lk.retry_count":
            return "LLM"
        if key.startswith("lk.function_tool"):
            return "TOOL"
        if key in ("lk.agent_name", "lk.instructions", "lk.generation_id"):
            return "AGENT"
        if key.startswith("lk.tts") or key in (
            "lk.input_text",
            "lk.user_transcript",
            "lk.transcript_confidence",
            "lk.transcription_delay",
        ):
            return c.UNKNOWN
    return None


def message_format(texts: Texts) -> str | None:
    """The form of the messages, which tells the page how to show them."""
    if is_gemini(texts):
        return "gemini"
    if "voltagent.operation_id" in texts or "voltagent.conversation_id" in texts:
        return "voltagent"
    if any(key.startswith("lk.") for key in texts):
        return "livekit"
    return "openai" if "lmnr.span.type" in texts else None


# events

_ROLES: Final = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
}


def _of_event(events: list[Event], name: str, key: str) -> Any:
    return next(
        (e.attributes[key] for e in events if e.name == name and e.attributes.get(key)), None
    )


def _decoded(value: Any) -> Any:
    return plain(value) if isinstance(value, str) else value


def event_inputs(texts: Texts, events: list[Event]) -> Any:
    """The inputs of a span whose messages are events."""
    if prompt := _of_event(events, "gen_ai.content.prompt", "gen_ai.prompt"):
        return prompt
    messages = [
        {"role": _ROLES[event.name], "content": _decoded(content)}
        for event in events
        if event.name in _ROLES and (content := event.attributes.get("content"))
    ]
    return json.dumps(messages, default=str) if messages else None


def event_outputs(texts: Texts, events: list[Event]) -> Any:
    """The outputs of a span whose messages are events."""
    if completion := _of_event(events, "gen_ai.content.completion", "gen_ai.completion"):
        return completion
    messages = [
        {
            "role": _decoded(event.attributes.get("role", "assistant")),
            "content": _decoded(content),
        }
        for event in events
        if event.name == "gen_ai.choice" and (content := event.attributes.get("content"))
    ]
    if messages:
        return json.dumps(messages, default=str)
    if claude_code_kind(texts) != _TOOL:
        return None
    for event in events:
        if event.name == "tool.output":
            for key in _TOOL_OUTPUTS:
                value = _decoded(event.attributes.get(key))
                if value and value != REDACTED:
                    return dump(value)
    return None
