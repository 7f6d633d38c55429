"""Resources of every kind, made through the API of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

API = "/api/2.0/mlflow/"
API3 = "/api/3.0/mlflow/"


class Population:
    """Makes resources. `ask(path, body)` returns the answer to a POST, which must succeed.

    The names of some are the same for every population.
    """

    def __init__(self, ask: Callable[..., Any]) -> None:
        self.ask = ask

    def make(self) -> dict[str, Any]:
        """Experiments A and B, and one of each other kind in A. Returns their ids."""
        first, _ = (
            self.ask(API + "experiments/create", {"name": name})["experiment_id"] for name in "AB"
        )
        run = self.ask(API + "runs/create", {"experiment_id": first, "run_name": "r"})["run"][
            "info"
        ]["run_id"]
        model = self.ask(API + "logged-models", {"experiment_id": first, "name": "lm"})
        trace = self.ask(API + "traces", {"experiment_id": first, "timestamp_ms": 1})
        created = API3 + "datasets/create"
        dataset = self.ask(created, {"name": "d", "experiment_ids": [first]})
        unlinked = self.ask(created, {"name": "d"})
        self.models()
        issue = {"experiment_id": first, "name": "i", "description": "d"}
        issue = self.ask(API3 + "issues", issue)["issue"]
        schema: Any = {
            "experiment_id": first,
            "name": "s",
            "type": "FEEDBACK",
            "input": {"text": {}},
        }
        schema = self.ask(API3 + "label-schemas/create", schema)["label_schema"]
        secret, definition = self.gateway("shared")
        own_secret, own_definition = self.gateway("own")
        scorer, guardrail, online = self.scorers(first)
        return {
            "experiment": first,
            "run": run,
            "logged_model": model["model"]["info"]["model_id"],
            "trace": trace["trace_info"]["request_id"],
            "dataset": dataset["dataset"]["dataset_id"],
            "unlinked dataset": unlinked["dataset"]["dataset_id"],
            "issue": issue["issue_id"],
            "schema": schema["schema_id"],
            "secret": secret,
            "own secret": own_secret,
            "definition": definition,
            "own definition": own_definition,
            "endpoint": self.endpoint("shared", definition),
            "own endpoint": self.endpoint("own", own_definition),
            "scorer": scorer,
            "guardrail": guardrail,
            "online scorer": online,
        }

    def models(self) -> None:
        """A registered model and a prompt, each with a version and an alias."""
        tags = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
        self.ask(API + "registered-models/create", {"name": "ma"})
        self.ask(API + "registered-models/create", {"name": "pa", "tags": tags})
        for name, given in (("ma", {}), ("pa", {"tags": tags, "source": "dummy-source"})):
            body = {"name": name, "source": "s3://bucket/x", **given}
            self.ask(API + "model-versions/create", body)
            alias = {"name": name, "alias": "best", "version": "1"}
            self.ask(API + "registered-models/alias", alias)

    def scorers(self, experiment_id: str) -> tuple[str, str, str]:
        """The ids of a scorer, a guardrail that runs it, and a scorer of traces."""
        register = API3 + "scorers/register"
        scorer = {"experiment_id": experiment_id, "name": "s", "serialized_scorer": '{"name": "s"}'}
        scorer_id = self.ask(register, scorer)["scorer_id"]
        guardrail: Any = {"name": "g", "scorer_id": scorer_id, "scorer_version": 1}
        guardrail |= {"stage": "BEFORE", "action": "VALIDATION"}
        guardrail = self.ask(API3 + "gateway/guardrails/create", guardrail)["guardrail"]
        online: Any = {"experiment_id": experiment_id, "name": "t", "serialized_scorer": "{}"}
        for _ in range(2):
            made = self.ask(register, online)
        online = {"experiment_id": experiment_id, "name": "t", "sample_rate": 0}
        self.ask(API3 + "scorers/online-config", online, "PUT")
        return scorer_id, guardrail["guardrail_id"], made["scorer_id"]

    def gateway(self, name: str) -> tuple[str, str]:
        """The ids of a new secret of the gateway and of a model definition that uses it."""
        gateway = "/api/3.0/mlflow/gateway/"
        body = {"secret_name": name, "secret_value": {"api_key": "k"}, "provider": "openai"}
        secret = self.ask(gateway + "secrets/create", body)["secret"]["secret_id"]
        body = {"name": name, "secret_id": secret, "provider": "openai", "model_name": "gpt"}
        made = self.ask(gateway + "model-definitions/create", body)
        return secret, made["model_definition"]["model_definition_id"]

    def endpoint(self, name: str, definition: str) -> str:
        """The id of a new endpoint of the gateway with one model."""
        models = [{"model_definition_id": definition, "linkage_type": "PRIMARY"}]
        body = {"name": name, "model_configs": models, "usage_tracking": False}
        path = "/api/3.0/mlflow/gateway/endpoints/create"
        return str(self.ask(path, body)["endpoint"]["endpoint_id"])
