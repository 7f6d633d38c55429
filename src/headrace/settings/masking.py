"""Masking of secrets in URIs, connection strings, JSON and command options."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import unquote

_USER_INFO = re.compile(r"(://[^:/@]*(?:/[^:/@?#]*)?):.*@", re.DOTALL)
_TOKEN_AS_USER = re.compile(r"(https?://)[^/?#@:]+@", re.IGNORECASE)
# `name=value` in a URI, a connection string (libpq, Azure) or command options; or `--name value`.
_PARAMETER = re.compile(
    r"(?:(?:^|(?<=[?&;#,\s]))([^=?&;#,\s]+)=|(--[\w-]+)\s+)(?:'[^']*'|\"[^\"]*\"|[^&;\s]*)"
)
_SECRET_NAME = re.compile(
    r"passw|pwd|passphrase|token|secret|credential|signature|\bsig\b|key|auth(?!or)", re.IGNORECASE
)


def masked(text: str) -> str:
    """Replace the password of a URI, and the value of every secret parameter, with `***`.

    In a JSON object, replace the values of secret names. When the limits of a secret are unclear, mask
    more: everything up to the last `@`, and the rest too if that `@` may be part of a secret parameter.
    """
    if text.lstrip().startswith("{"):
        try:
            return json.dumps(_masked_json(json.loads(text)))
        except ValueError:
            return "***"
    user_info = _USER_INFO.search(text)
    if user_info is not None and _has_secret(user_info[0]):
        return f"{text[: user_info.end(1)]}:***@***"
    text = _TOKEN_AS_USER.sub(r"\1***@", _USER_INFO.sub(r"\1:***@", text))
    return _PARAMETER.sub(_masked_parameter, text)


def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(unquote(name).replace("_", " ")) is not None


def _has_secret(text: str) -> bool:
    return any(_is_secret(match[1] or match[2]) for match in _PARAMETER.finditer(text))


def _masked_parameter(match: re.Match[str]) -> str:
    if not _is_secret(match[1] or match[2]):
        return match[0]
    return f"{match[1]}=***" if match[1] else f"{match[2]} ***"


def _masked_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: "***" if _is_secret(k) else _masked_json(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_masked_json(item) for item in value]
    return masked(value) if isinstance(value, str) else value
