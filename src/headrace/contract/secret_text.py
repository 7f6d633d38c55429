"""Encryption of stored secrets with the server's key, by MLflow's method (Fernet)."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any, Final

from headrace.contract.errors import ApiError, ErrorCode
from headrace.extras import install_command

if TYPE_CHECKING:
    from headrace.settings.table import Settings

# As in stock MLflow, the key lasts as long as the server. It is created before the processes fork.
RANDOM_KEY: Final = base64.urlsafe_b64encode(os.urandom(32)).decode()


class Unreadable(Exception):
    """The text was encrypted with another key."""


def key_of(settings: Settings) -> str:
    """Return the key for secrets of webhooks."""
    return settings.webhook_secret_encryption_key or RANDOM_KEY


def _cipher(key: str) -> Any:  # cryptography is an optional dependency
    try:
        from cryptography.fernet import Fernet
    except ImportError as error:
        raise ApiError(
            ErrorCode.NOT_IMPLEMENTED,
            "Secrets need the package 'cryptography', which is not installed. Run "
            f"{install_command('webhooks')}, then restart headrace.",
        ) from error
    return Fernet(key.encode())


def encrypted(text: str, key: str) -> str:
    """Encrypt a text for storage."""
    token: bytes = _cipher(key).encrypt(text.encode())
    return token.decode()


def decrypted(stored: str, key: str) -> str:
    """Decrypt a stored text. Raises Unreadable."""
    cipher = _cipher(key)
    from cryptography.fernet import InvalidToken

    try:
        text: bytes = cipher.decrypt(stored.encode())
    except InvalidToken as error:
        raise Unreadable from error
    return text.decode()
