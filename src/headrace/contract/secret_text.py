"""Secrets as the database holds them: encrypted as MLflow does (Fernet), under the server's key."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any, Final

from headrace.contract.errors import ApiError, ErrorCode

if TYPE_CHECKING:
    from headrace.settings.table import Settings

# Of this server only, as with stock: made before its processes are forked, gone when they end.
RANDOM_KEY: Final = base64.urlsafe_b64encode(os.urandom(32)).decode()


class Unreadable(Exception):
    """The text was encrypted under another key."""


def key_of(settings: Settings) -> str:
    """The key that secrets of webhooks are encrypted under."""
    return settings.webhook_secret_encryption_key or RANDOM_KEY


def _cipher(key: str) -> Any:  # of a package without which there are no secrets
    try:
        from cryptography.fernet import Fernet
    except ImportError as error:
        raise ApiError(
            ErrorCode.NOT_IMPLEMENTED,
            "Secrets need the package 'cryptography', which is not installed beside headrace: "
            "pip install 'headrace[webhooks]', then start headrace again.",
        ) from error
    return Fernet(key.encode())


def encrypted(text: str, key: str) -> str:
    """The text as it is stored."""
    token: bytes = _cipher(key).encrypt(text.encode())
    return token.decode()


def decrypted(stored: str, key: str) -> str:
    """What was stored. Raises Unreadable."""
    cipher = _cipher(key)
    from cryptography.fernet import InvalidToken

    try:
        text: bytes = cipher.decrypt(stored.encode())
    except InvalidToken as error:
        raise Unreadable from error
    return text.decode()
