"""Encryption of the AI gateway's secrets by MLflow's method: each has a key, which the server's key wraps.

The server's key comes from a passphrase (PBKDF2). Both databases store `wrapped_dek`, the secret's
own key, and `encrypted_value`, each a nonce of 12 bytes and what AES-256-GCM makes, with its tag.
Source: mlflow/utils/crypto.py (3.17.2).
"""

from __future__ import annotations

import hashlib
import os
from typing import Any, Final, NamedTuple

from headrace.contract.errors import ApiError, ErrorCode
from headrace.extras import install_command

SALT: Final = b"mlflow-secrets-kek-v1-2025"
ITERATIONS: Final = 600_000
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
# MLflow's passphrase for a server that has none. It is public, so it protects nothing.
PUBLIC_PASSPHRASE: Final = "mlflow-default-kek-passphrase-for-development-only"
SHOWN_BEGIN: Final = 3  # characters of a secret that answers show
SHOWN_END: Final = 4
SHORTEST_SHOWN: Final = 8  # characters of a secret of which answers show anything
HIDDEN: Final = "***"


class Unreadable(Exception):
    """The bytes were encrypted with another key, belong to another secret, or were changed."""


class Envelope(NamedTuple):
    """A secret as a database stores it."""

    encrypted_value: bytes
    wrapped_dek: bytes


def available() -> bool:
    """Whether the package for the encryption is installed; importing it takes 30 ms, once."""
    try:
        from cryptography.hazmat.primitives.ciphers import aead  # noqa: F401
    except ImportError:
        return False
    return True


def check_available() -> None:
    """Raise NOT_IMPLEMENTED without the package for the encryption."""
    if not available():
        raise ApiError(
            ErrorCode.NOT_IMPLEMENTED,
            "Secrets need the package 'cryptography', which is not installed. Run "
            f"{install_command('gateway')}, then restart headrace.",
        )


def derive(passphrase: str, version: int) -> bytes:
    """The server's key. It takes 0.2 s of CPU time, without the interpreter's lock."""
    salt = SALT + version.to_bytes(4, "big")
    text = (passphrase or PUBLIC_PASSPHRASE).encode()
    return hashlib.pbkdf2_hmac("sha256", text, salt, ITERATIONS, KEY_BYTES)


def seal(value: str, key: bytes, secret_id: str, secret_name: str) -> Envelope:
    """Encrypt a secret under a new key of its own, which `key` wraps."""
    own = os.urandom(KEY_BYTES)
    belongs = _bound(secret_id, secret_name)
    return Envelope(_encrypted(value.encode(), own, belongs), _encrypted(own, key, None))


def unseal(envelope: Envelope, key: bytes, secret_id: str, secret_name: str) -> str:
    """Decrypt a secret. Raises Unreadable."""
    own = _decrypted(envelope.wrapped_dek, key, None)
    return _decrypted(envelope.encrypted_value, own, _bound(secret_id, secret_name)).decode()


def rewrap(wrapped_dek: bytes, old: bytes, new: bytes) -> bytes:
    """The same key of a secret, wrapped by another key of the server. Raises Unreadable."""
    return _encrypted(_decrypted(wrapped_dek, old, None), new, None)


def masked(value: str) -> str:
    """The characters of a secret that answers show."""
    if len(value) < SHORTEST_SHOWN:
        return HIDDEN
    return f"{value[:SHOWN_BEGIN]}...{value[-SHOWN_END:]}"


def _bound(secret_id: str, secret_name: str) -> bytes:
    """The bytes that bind a secret to its id and name, so that it cannot take the place of another."""
    return f"{secret_id}|{secret_name}".encode()


def _cipher(key: bytes) -> Any:  # cryptography is an optional dependency
    check_available()
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _encrypted(plain: bytes, key: bytes, bound: bytes | None) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    sealed: bytes = _cipher(key).encrypt(nonce, plain, bound)
    return nonce + sealed


def _decrypted(stored: bytes, key: bytes, bound: bytes | None) -> bytes:
    cipher = _cipher(key)
    from cryptography.exceptions import InvalidTag

    nonce, sealed = bytes(stored[:NONCE_BYTES]), bytes(stored[NONCE_BYTES:])
    try:
        plain: bytes = cipher.decrypt(nonce, sealed, bound)
    except (InvalidTag, ValueError) as error:  # ValueError: the nonce is cut
        raise Unreadable from error
    return plain
