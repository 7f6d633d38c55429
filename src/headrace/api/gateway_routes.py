"""The part of the route table for the settings of the AI gateway. See `routes` for the columns."""

from __future__ import annotations

from headrace.api.gateway.catalogue import handlers as catalogue
from headrace.api.gateway.model_definitions import handlers as model_definitions
from headrace.api.gateway.secrets import handlers as secrets
from headrace.api.route import Route
from headrace.auth.rules import ANYONE, Action, Need, create, needs, scoped, undenied
from headrace.contract.limits import MAX_SECRET_BYTES


def secret(action: Action) -> Need:
    """Require the action on the secret that a request names."""
    return Need("gateway_secret", action, "secret_id")


def definition(action: Action) -> Need:
    """Require the action on a model definition."""
    return Need("gateway_model_definition", action, "model_definition_id")


# The formatter would split each row into five lines.
# fmt: off
GATEWAY_ROUTES: tuple[Route, ...] = (
    # secrets
    Route("POST", "/api/3.0/mlflow/gateway/secrets/create", secrets.create,
        needs(create("gateway_secret"), undenied("gateway_secret")), max_bytes=MAX_SECRET_BYTES),
    Route("GET", "/api/3.0/mlflow/gateway/secrets/get", secrets.get, needs(secret("read"))),
    Route("GET", "/api/3.0/mlflow/gateway/secrets/list", secrets.list_secrets, scoped("gateway_secret")),
    Route("POST", "/api/3.0/mlflow/gateway/secrets/update", secrets.update, needs(secret("update")),
        max_bytes=MAX_SECRET_BYTES),
    Route("DELETE", "/api/3.0/mlflow/gateway/secrets/delete", secrets.delete, needs(secret("delete"))),
    Route("GET", "/ajax-api/3.0/mlflow/gateway/secrets/config", secrets.config, ANYONE),
    # model definitions
    Route("POST", "/api/3.0/mlflow/gateway/model-definitions/create", model_definitions.create,
        needs(create("gateway_model_definition"), undenied("gateway_model_definition"), secret("use"))),
    Route("GET", "/api/3.0/mlflow/gateway/model-definitions/get", model_definitions.get, needs(definition("read"))),
    Route("GET", "/api/3.0/mlflow/gateway/model-definitions/list", model_definitions.list_definitions,
        scoped("gateway_model_definition", secret("undenied"))),
    Route("POST", "/api/3.0/mlflow/gateway/model-definitions/update", model_definitions.update,
        needs(definition("update"), secret("use"))),
    Route("DELETE", "/api/3.0/mlflow/gateway/model-definitions/delete", model_definitions.delete,
        needs(definition("delete"))),
    # what the installed mlflow package knows
    Route("GET", "/ajax-api/3.0/mlflow/gateway/supported-providers", catalogue.list_providers, ANYONE),
    Route("GET", "/ajax-api/3.0/mlflow/gateway/supported-models", catalogue.list_models, ANYONE),
    Route("GET", "/ajax-api/3.0/mlflow/gateway/provider-config", catalogue.provider_config, ANYONE),
)
# fmt: on
