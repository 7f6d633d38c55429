"""The part of the route table for the settings of the AI gateway. See `routes` for the columns."""

from __future__ import annotations

from headrace.api.gateway.bindings import handlers as bindings
from headrace.api.gateway.budgets import handlers as budgets
from headrace.api.gateway.catalogue import handlers as catalogue
from headrace.api.gateway.endpoints import handlers as endpoints
from headrace.api.gateway.endpoints import rules as endpoint_rules
from headrace.api.gateway.guardrails import handlers as guardrails
from headrace.api.gateway.model_definitions import handlers as model_definitions
from headrace.api.gateway.secrets import handlers as secrets
from headrace.api.route import Route
from headrace.auth.rules import (
    ADMIN,
    ANYONE,
    Action,
    Need,
    create,
    gateway_endpoint,
    guardrail_scorer,
    needs,
    required,
    scoped,
    undenied,
)
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
        needs(undenied("gateway_model_definition"), secret("use"))),
    Route("GET", "/api/3.0/mlflow/gateway/model-definitions/get", model_definitions.get, needs(definition("read"))),
    Route("GET", "/api/3.0/mlflow/gateway/model-definitions/list", model_definitions.list_definitions,
        scoped("gateway_model_definition", secret("undenied"))),
    Route("POST", "/api/3.0/mlflow/gateway/model-definitions/update", model_definitions.update,
        needs(definition("update"), secret("use"))),
    Route("DELETE", "/api/3.0/mlflow/gateway/model-definitions/delete", model_definitions.delete,
        needs(definition("delete"))),
    # endpoints
    Route("POST", "/api/3.0/mlflow/gateway/endpoints/create", endpoints.create,
        needs(Need("gateway_endpoint", "create", when=endpoint_rules.names_no_definition),
            undenied("gateway_endpoint"),
            Need("gateway_model_definition", "use", "model_configs[].model_definition_id"),
            Need("experiment", "undenied", "experiment_id", default="*", when=endpoint_rules.names_experiment),
            Need("experiment", "update", "experiment_id"))),
    Route("GET", "/api/3.0/mlflow/gateway/endpoints/get", endpoints.get,
        needs(Need("gateway_endpoint", "read", "endpoint_id", default="", when=endpoint_rules.by_id),
            Need("gateway_endpoint", "read", "name", named="endpoint_name", when=endpoint_rules.by_name))),
    Route("GET", "/api/3.0/mlflow/gateway/endpoints/list", endpoints.list_endpoints,
        scoped("gateway_endpoint")),
    Route("POST", "/api/3.0/mlflow/gateway/endpoints/update", endpoints.update,
        needs(gateway_endpoint("update"),
            Need("gateway_model_definition", "use", "model_configs[].model_definition_id"),
            Need("experiment", "update", endpoint_rules.given_experiments, named="endpoint_experiment"))),
    Route("DELETE", "/api/3.0/mlflow/gateway/endpoints/delete", endpoints.delete,
        needs(gateway_endpoint("delete"))),
    Route("POST", "/api/3.0/mlflow/gateway/endpoints/models/attach", endpoints.attach_model,
        needs(gateway_endpoint("update"), Need("gateway_model_definition", "use", "model_config.model_definition_id"))),
    Route("POST", "/api/3.0/mlflow/gateway/endpoints/models/detach", endpoints.detach_model,
        needs(gateway_endpoint("update"), Need("gateway_model_definition", "undenied", "model_definition_id"))),
    Route("POST", "/api/3.0/mlflow/gateway/endpoints/set-tag", endpoints.set_tag,
        needs(gateway_endpoint("update"))),
    Route("DELETE", "/api/3.0/mlflow/gateway/endpoints/delete-tag", endpoints.delete_tag,
        needs(gateway_endpoint("update"))),
    Route("POST", "/api/3.0/mlflow/gateway/endpoints/bindings/create", bindings.create,
        needs(gateway_endpoint("update"))),
    Route("DELETE", "/api/3.0/mlflow/gateway/endpoints/bindings/delete", bindings.delete,
        needs(gateway_endpoint("update"))),
    Route("GET", "/api/3.0/mlflow/gateway/endpoints/bindings/list", bindings.list_bindings,
        needs(required(gateway_endpoint("read")))),
    # budgets
    Route("POST", "/api/3.0/mlflow/gateway/budgets/create", budgets.create, ADMIN),
    Route("GET", "/api/3.0/mlflow/gateway/budgets/get", budgets.get, ANYONE),
    Route("GET", "/api/3.0/mlflow/gateway/budgets/list", budgets.list_budgets, ANYONE),
    Route("GET", "/api/3.0/mlflow/gateway/budgets/windows", budgets.list_windows, ANYONE),
    Route("POST", "/api/3.0/mlflow/gateway/budgets/update", budgets.update, ADMIN),
    Route("DELETE", "/api/3.0/mlflow/gateway/budgets/delete", budgets.delete, ADMIN),
    # guardrails
    Route("POST", "/api/3.0/mlflow/gateway/guardrails/create", guardrails.create, ADMIN),
    Route("GET", "/api/3.0/mlflow/gateway/guardrails/get", guardrails.get, ADMIN),
    Route("GET", "/api/3.0/mlflow/gateway/guardrails/list", guardrails.list_guardrails, ADMIN),
    Route("DELETE", "/api/3.0/mlflow/gateway/guardrails/delete", guardrails.delete, ADMIN),
    Route("POST", "/api/3.0/mlflow/gateway/guardrails/add-to-endpoint", guardrails.add_to_endpoint,
        scoped("scorer", gateway_endpoint("update"), guardrail_scorer())),
    Route("PATCH", "/api/3.0/mlflow/gateway/guardrails/update-config", guardrails.update_config,
        scoped("scorer", gateway_endpoint("update"), guardrail_scorer())),
    Route("DELETE", "/api/3.0/mlflow/gateway/guardrails/remove-from-endpoint", guardrails.remove_from_endpoint,
        needs(gateway_endpoint("update"))),
    Route("GET", "/api/3.0/mlflow/gateway/guardrails/list-for-endpoint", guardrails.list_for_endpoint,
        scoped("scorer", gateway_endpoint("read"))),
    # what the installed mlflow package knows
    Route("GET", "/ajax-api/3.0/mlflow/gateway/supported-providers", catalogue.list_providers, ANYONE),
    Route("GET", "/ajax-api/3.0/mlflow/gateway/supported-models", catalogue.list_models, ANYONE),
    Route("GET", "/ajax-api/3.0/mlflow/gateway/provider-config", catalogue.provider_config, ANYONE),
)
# fmt: on
