"""The preview of a trace's request or response: the text of a chat message, or the JSON itself."""

from __future__ import annotations

from typing import Any, Final

from headrace.otlp.values import load

MAX_PREVIEW: Final = 1000  # characters


def preview(text: str, role: str) -> str:
    """The preview of the JSON text of a root's inputs (role `user`) or outputs (`assistant`)."""
    value = None if text.startswith('"') else load(text)  # a string has no messages
    shown = (_last_text(_messages(value), role) or text)[: MAX_PREVIEW + 1]
    shown = shown.replace("\x00", "\ufffd")
    return shown if len(shown) <= MAX_PREVIEW else shown[: MAX_PREVIEW - 3] + "..."


def _is_message(item: Any) -> bool:
    return isinstance(item, dict) and "role" in item and "content" in item


def _messages(value: Any) -> list[dict[str, Any]]:
    """The messages of a chat request or answer in the forms of OpenAI's interfaces."""
    if not isinstance(value, dict):
        return []
    messages = value.get("messages")
    if messages and isinstance(messages, list):
        return [item for item in messages if _is_message(item)]
    choices = value.get("choices")
    if choices and isinstance(choices, list) and isinstance(choices[0], dict):
        message = choices[0].get("message")
        if message and _is_message(message):
            return [message]
    for name in ("input", "output"):
        items = value.get(name)
        if items and isinstance(items, list):
            return [item for item in items if _is_message(item)]
    return _messages(value["request"]) if "request" in value else []


def _last_text(messages: list[dict[str, Any]], role: str) -> str:
    """The text of the last message of a role, or of the last message."""
    if not messages:
        return ""
    chosen = next((m for m in reversed(messages) if m.get("role") == role), messages[-1])
    content = chosen["content"]
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        for part in content:
            if isinstance(part, str):
                return part
            if isinstance(part, dict) and part.get("type") in ("text", "output_text"):
                text = part.get("text")
                return text if isinstance(text, str) else ""
    return ""
