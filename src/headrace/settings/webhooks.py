"""Settings of webhooks, which MLflow lets only the environment say. The other rows are in config.py."""

from __future__ import annotations

import base64
import binascii
import dataclasses
from typing import Final

from headrace.settings.kinds import SWITCH, TEXT, Kind, Secret, integer, row, seconds
from headrace.settings.unsupported import ACCEPTED, AcceptedSettings

WEBHOOKS: Final = "Webhooks"
KEY_BYTES: Final = 32


def key(value: str) -> Secret:
    """A key as `cryptography.fernet` makes it: 32 bytes in URL-safe base64."""
    try:
        whole = len(base64.urlsafe_b64decode(value)) == KEY_BYTES
    except (binascii.Error, ValueError):
        whole = False
    if not whole:
        raise ValueError("it is not 32 bytes in URL-safe base64")  # what it is, is a secret
    return Secret(value)


@dataclasses.dataclass(frozen=True)
class WebhookSettings(AcceptedSettings):
    """The rows."""

    webhook_secret_encryption_key: str = row(
        WEBHOOKS,
        Secret(""),
        Kind("KEY", key),
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY",
        "The encryption key for webhook secrets: 32 bytes in URL-safe base64, the same for all "
        "servers of a database.",
        default_text="a random key; secrets stored with it are lost when the server ends",
    )
    webhook_timeout_s: float = row(
        WEBHOOKS,
        30.0,
        seconds(0.1, 3_600),
        "MLFLOW_WEBHOOK_REQUEST_TIMEOUT",
        "Maximum time for connecting to a receiver, and for its answer.",
    )
    webhook_retries: int = row(
        WEBHOOKS,
        3,
        integer(0, 100),
        "MLFLOW_WEBHOOK_REQUEST_MAX_RETRIES",
        "Number of retries of a delivery that got no answer, or 429, 500, 502, 503 or 504.",
    )
    webhook_connections: int = row(
        WEBHOOKS,
        10,
        integer(1, 1_000),
        "MLFLOW_WEBHOOK_DELIVERY_MAX_WORKERS",
        "Maximum number of concurrent deliveries of one process.",
    )
    webhook_allowed_schemes: str = row(
        WEBHOOKS,
        "https",
        TEXT,
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES",
        "Allowed schemes of webhook URLs, separated by commas. http is for tests: the network can "
        "read the contents.",
    )
    webhook_allow_private_ips: bool = row(
        WEBHOOKS,
        False,
        SWITCH,
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS",
        "Also deliver to hosts in private networks and to this machine. Anyone who may create "
        "webhooks can then reach them through the server.",
    )
    webhook_cache_ttl_s: int = row(
        ACCEPTED,
        60,
        integer(0, 86_400),
        "MLFLOW_WEBHOOK_CACHE_TTL",
        "Time for which stock MLflow caches the list of webhooks.",
        note="webhooks are looked up each time, so a change takes effect immediately",
    )
