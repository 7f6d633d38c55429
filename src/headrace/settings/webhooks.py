"""Settings of webhooks. As in MLflow, they are environment variables without flags."""

from __future__ import annotations

import base64
import binascii
import dataclasses
from typing import Final

from headrace.settings.kinds import SWITCH, TEXT, Kind, Secret, integer, row, seconds
from headrace.settings.oidc import OidcSettings

WEBHOOKS: Final = "Webhooks"
KEY_BYTES: Final = 32


def key(value: str) -> Secret:
    """Parse a key as `cryptography.fernet` makes it: 32 bytes in URL-safe base64."""
    try:
        whole = len(base64.urlsafe_b64decode(value)) == KEY_BYTES
    except (binascii.Error, ValueError):
        whole = False
    if not whole:
        # The message must not contain the value, which may be a key.
        raise ValueError("it is not 32 bytes in URL-safe base64")
    return Secret(value)


@dataclasses.dataclass(frozen=True)
class WebhookSettings(OidcSettings):
    """The rows of webhooks; see `table` for the others."""

    webhook_secret_encryption_key: str = row(
        WEBHOOKS,
        Secret(""),
        Kind("KEY", key),
        env="MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY",
        help="The encryption key for webhook secrets: 32 bytes in URL-safe base64, the same for all "
        "servers of a database.",
        default_text="a random key; secrets stored with it are lost when the server ends",
    )
    webhook_timeout_s: float = row(
        WEBHOOKS,
        30.0,
        seconds(0.1, 3_600),
        env="MLFLOW_WEBHOOK_REQUEST_TIMEOUT",
        help="Maximum time for connecting to a receiver, and for its answer.",
    )
    webhook_retries: int = row(
        WEBHOOKS,
        3,
        integer(0, 100),
        env="MLFLOW_WEBHOOK_REQUEST_MAX_RETRIES",
        help="Number of retries of a delivery that got no answer, or 429, 500, 502, 503 or 504.",
    )
    webhook_connections: int = row(
        WEBHOOKS,
        10,
        integer(1, 1_000),
        env="MLFLOW_WEBHOOK_DELIVERY_MAX_WORKERS",
        help="Maximum number of concurrent deliveries of one process.",
    )
    webhook_allowed_schemes: str = row(
        WEBHOOKS,
        "https",
        TEXT,
        env="MLFLOW_WEBHOOK_ALLOWED_SCHEMES",
        help="Allowed schemes of webhook URLs, separated by commas. http is for tests: the network can "
        "read the contents.",
    )
    webhook_allow_private_ips: bool = row(
        WEBHOOKS,
        False,
        SWITCH,
        env="MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS",
        help="Also deliver to hosts in private networks and to this machine. Anyone who may create "
        "webhooks can then reach them through the server.",
    )
