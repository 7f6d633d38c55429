"""The encryption of the gateway's secrets: what a secret is bound to, and what answers show of it."""

from __future__ import annotations

import pytest

from headrace.contract import envelope
from headrace.contract.envelope import Envelope, Unreadable

KEY, OTHER = bytes(range(32)), bytes(32)


def test_the_key_is_that_of_mlflow() -> None:
    """Of a passphrase and a version; without a passphrase, of MLflow's public one."""
    assert envelope.derive("abc", 1).hex() == (
        "4c95e862c615dfeab76098b0a50bb13b514e27e94eb551d481327fd90b1e2529"
    )
    assert envelope.derive("", 1) == envelope.derive(envelope.PUBLIC_PASSPHRASE, 1)


def test_the_same_secret_is_never_encrypted_alike() -> None:
    one, other = (envelope.seal("value", KEY, "s-1", "name") for _ in range(2))
    assert one.encrypted_value != other.encrypted_value
    assert one.wrapped_dek != other.wrapped_dek
    assert b"value" not in one.encrypted_value
    assert len(one.encrypted_value) == 12 + len("value") + 16
    assert len(one.wrapped_dek) == 12 + 32 + 16
    assert envelope.unseal(one, KEY, "s-1", "name") == "value"


@pytest.mark.parametrize(
    ("key", "secret_id", "name"),
    [(OTHER, "s-1", "name"), (KEY, "s-2", "name"), (KEY, "s-1", "another name")],
)
def test_a_secret_is_bound_to_its_key_id_and_name(key: bytes, secret_id: str, name: str) -> None:
    sealed = envelope.seal("value", KEY, "s-1", "name")
    with pytest.raises(Unreadable):
        envelope.unseal(sealed, key, secret_id, name)


@pytest.mark.parametrize("length", [0, 5, 12, 20])
def test_bytes_that_are_cut_are_unreadable(length: int) -> None:
    sealed = envelope.seal("value", KEY, "s-1", "name")
    with pytest.raises(Unreadable):
        cut = Envelope(sealed.encrypted_value[:length], sealed.wrapped_dek)
        envelope.unseal(cut, KEY, "s-1", "name")
    with pytest.raises(Unreadable):
        cut = Envelope(sealed.encrypted_value, sealed.wrapped_dek[:length])
        envelope.unseal(cut, KEY, "s-1", "name")


def test_a_rotation_changes_the_wrapping_only() -> None:
    sealed = envelope.seal("value", KEY, "s-1", "name")
    rotated = Envelope(sealed.encrypted_value, envelope.rewrap(sealed.wrapped_dek, KEY, OTHER))
    assert envelope.unseal(rotated, OTHER, "s-1", "name") == "value"
    with pytest.raises(Unreadable):
        envelope.unseal(rotated, KEY, "s-1", "name")
    with pytest.raises(Unreadable):
        envelope.rewrap(sealed.wrapped_dek, OTHER, KEY)


@pytest.mark.parametrize(
    ("value", "shown"),
    [("", "***"), ("1234567", "***"), ("12345678", "123...5678"), ("sk-secret-key", "sk-...-key")],
)
def test_little_of_a_secret_is_shown(value: str, shown: str) -> None:
    assert envelope.masked(value) == shown
