"""Settings of MLflow's AI gateway. As in MLflow, they are environment variables without flags."""

from __future__ import annotations

import dataclasses
from typing import Final

from headrace.settings.kinds import SWITCH, TEXT, Kind, Secret, integer, row
from headrace.settings.webhooks import WebhookSettings

GATEWAY: Final = "AI gateway"


@dataclasses.dataclass(frozen=True)
class GatewaySettings(WebhookSettings):
    """The rows of the gateway; see `table` for the others."""

    enable_ai_gateway: bool = row(
        GATEWAY,
        True,
        SWITCH,
        env="MLFLOW_ENABLE_AI_GATEWAY",
        help="Serve the AI gateway and its settings.",
    )
    crypto_kek_passphrase: str = row(
        GATEWAY,
        Secret(""),
        Kind("PASSPHRASE", Secret),
        env="MLFLOW_CRYPTO_KEK_PASSPHRASE",
        help="The passphrase from which the key is derived that encrypts the gateway's secrets, the "
        "same for all servers of a database.",
        default_text="a passphrase that is public, so whoever has the database has the secrets",
    )
    crypto_kek_version: int = row(
        GATEWAY,
        1,
        integer(0, 2**31 - 1),
        env="MLFLOW_CRYPTO_KEK_VERSION",
        help="The number of the passphrase: each change of it by a rotation of the key adds one.",
    )
    gateway_api_base_schemes: str = row(
        GATEWAY,
        "https",
        TEXT,
        env="MLFLOW_GATEWAY_API_BASE_ALLOWED_SCHEMES",
        help="Allowed schemes, separated by commas, of the address of a provider that a secret names.",
    )
    gateway_api_base_private_ips: bool = row(
        GATEWAY,
        False,
        SWITCH,
        env="MLFLOW_GATEWAY_API_BASE_ALLOW_PRIVATE_IPS",
        help="Also allow providers in private networks and on this machine. Anyone who may create "
        "secrets can then reach such hosts through the gateway.",
    )
    gateway_allowed_providers: str | None = row(
        GATEWAY,
        None,
        TEXT,
        env="MLFLOW_GATEWAY_ALLOWED_PROVIDERS",
        help="The providers of models that may be used, separated by commas.",
        default_text="all",
    )
