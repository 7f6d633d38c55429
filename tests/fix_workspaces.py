"""Servers with workspaces, and clients in one workspace with resources of every kind."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import psycopg
from tests import rows
from tests.compat.population import API, API3, Population
from tests.workspaces import make

if TYPE_CHECKING:
    from tests.wire import Answer, Wire

Values = dict[str, Any]
ENVIRONMENT = {
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "MLFLOW_CRYPTO_KEK_PASSPHRASE": "the passphrase of the tests",
}
JOB = (
    "INSERT INTO jobs (id, creation_time, job_name, params, status, retry_count,"
    " last_update_time, workspace) VALUES ('{id}', 1, 'n', '{params}', 0, 0, 1, '{workspace}')"
)
# The ids of later experiments are numbers that nothing else in an answer is.
FAR_SQLITE = (
    "INSERT INTO experiments (experiment_id, name, lifecycle_stage, workspace)"
    " VALUES (7418520, 'far', 'active', 'default')"
)
FAR_POSTGRES = "SELECT setval(pg_get_serial_sequence('experiments', 'experiment_id'), 7418520)"
HEADER: Final = "X-MLFLOW-WORKSPACE"
JSON: Final = {"Content-Type": "application/json"}
# In every text and file of the workspace whose resources nobody else may see.
SECRET: Final = "only-in-a"


class Member:
    """A client in one workspace."""

    def __init__(self, wire: Wire, workspace: str, headers: dict[str, str] | None = None) -> None:
        self.wire = wire
        self.workspace = workspace
        self.headers = {HEADER: workspace, **(headers or {})}

    def send(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str] | None = None
    ) -> Answer:
        """The answer to any request."""
        return self.wire.ask(method, target, body, self.headers | (headers or {}))

    def ask(self, path: str, body: Any, method: str = "POST") -> Any:
        """The decoded answer to a request that must succeed."""
        answer = self.send(method, path, json.dumps(body).encode(), JSON)
        assert answer.status in (200, 201), f"{path} in {self.workspace}: {answer}"
        return answer.json()

    def populate(self, word: str) -> Values:
        """Make resources of every kind, with `word` in their texts. Returns the values of fields."""
        made = Population(self.ask).make()
        experiment, run = made["experiment"], made["run"]
        self.ask(API + "experiments/create", {"name": word})
        self.ask(API + "registered-models/create", {"name": word})
        version = self.ask(
            API + "model-versions/create", {"name": word, "source": "s3://b/" + word}
        )
        self.ask(API + "registered-models/alias", {"name": word, "alias": word, "version": "1"})
        self.ask(API + "runs/set-tag", {"run_id": run, "key": word, "value": word})
        self.ask(API + "runs/log-parameter", {"run_id": run, "key": word, "value": word})
        self.ask(API + "runs/log-metric", {"run_id": run, "key": "m", "value": 1, "timestamp": 1})
        tag = {"experiment_id": experiment, "key": word, "value": word}
        self.ask(API + "experiments/set-experiment-tag", tag)
        self.ask(API + f"traces/{made['trace']}/tags", {"key": word, "value": word}, "PATCH")
        assessment = {
            "assessment_name": word,
            "feedback": {"value": True},
            "source": {"source_type": "HUMAN", "source_id": "u"},
        }
        assessments = API3 + f"traces/{made['trace']}/assessments"
        assessment = self.ask(assessments, {"assessment": assessment})["assessment"]
        queue: Any = {"experiment_id": experiment, "name": word, "queue_type": "CUSTOM"}
        queue = self.ask(API3 + "review-queues/create", queue)["review_queue"]
        items = {"queue_id": queue["queue_id"], "item_ids": [made["trace"]]}
        self.ask(API3 + "review-queues/items/add", items)
        hook: Any = {"name": word, "url": "http://127.0.0.1:9/" + word}
        hook["events"] = [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]
        hook = self.ask(API + "webhooks", hook)["webhook"]
        budget: Any = {"budget_unit": "USD", "budget_amount": 1, "budget_action": "ALERT"}
        budget |= {"duration": {"unit": "DAYS", "value": 1}, "target_scope": "GLOBAL"}
        budget = self.ask(API3 + "gateway/budgets/create", budget)["budget_policy"]
        stored = self.send("PUT", self.file(made), word.encode())
        assert stored.status == 200, stored
        assert version["model_version"]["name"] == word
        return made | {
            "word": word,
            "assessment": assessment["assessment_id"],
            "queue": queue["queue_id"],
            "webhook": hook["webhook_id"],
            "budget": budget["budget_policy_id"],
            "artifact": self.artifact(made),
        }

    def file(self, made: Values) -> str:
        """The path of a request for an artifact of the run."""
        return f"/api/2.0/mlflow-artifacts/artifacts/{self.artifact(made)}"

    def artifact(self, made: Values) -> str:
        """The path of an artifact of the run."""
        return f"workspaces/{self.workspace}/{made['experiment']}/{made['run']}/artifacts/f.txt"


class TwoWorkspaces:
    """A server with two workspaces: A, whose resources must stay hidden, and B."""

    def __init__(self, uri: str, wire: Wire, headers: dict[str, str] | None = None) -> None:
        """`headers` are the credentials of an admin, on a server with users."""
        self.uri = uri
        execute(uri, FAR_SQLITE if uri.startswith("sqlite") else FAR_POSTGRES)
        make(uri, "team-a", "team-b")
        self.a, self.b = Member(wire, "team-a", headers), Member(wire, "team-b", headers)
        self.foreign = self._populate(self.a, SECRET)
        self.own = self._populate(self.b, "only-in-b")

    def _populate(self, member: Member, word: str) -> Values:
        made = member.populate(word) | {"job": f"job-of-{member.workspace}"}
        params = json.dumps({"experiment_id": made["experiment"], "word": word})
        execute(self.uri, JOB.format(id=made["job"], params=params, workspace=member.workspace))
        return made

    def rows_of_a(self) -> dict[str, list[str]]:
        """The rows of workspace A. Workspace B may refer to them."""
        ids = {id_ for kind, id_ in self.foreign.items() if kind != "experiment"} | {"team-a"}
        experiment, own = self.foreign["experiment"], self.own["experiment"]
        found = {}
        for table, all_rows in rows.tables(self.uri).items():
            of_a = sorted(
                repr(row)
                for row in all_rows
                if row.get("workspace") != "team-b"
                and str(row.get("experiment_id")) != own
                and row.get("source_id") not in self.own.values()  # a reference from B to A
                and (
                    str(row.get("experiment_id")) == experiment
                    or ids.intersection(value for value in row.values() if isinstance(value, str))
                )
            )
            if of_a:
                found[table] = of_a
        return found


def execute(uri: str, statement: str) -> None:
    """Run one statement."""
    if uri.startswith("sqlite"):
        with closing(sqlite3.connect(urlsplit(uri).path[1:], timeout=30)) as db, db:
            db.execute(statement)
    else:
        with psycopg.connect(uri, autocommit=True) as db:
            db.execute(statement.encode())
