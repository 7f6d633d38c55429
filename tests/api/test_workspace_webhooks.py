"""A webhook receives the events of its workspace, which its bodies name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.api.test_workspaces_apart import Team
from tests.fix_server import headrace
from tests.receiver import receiver
from tests.wire import Wire
from tests.workspaces import make

if TYPE_CHECKING:
    from pathlib import Path

OPEN = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true"}
CREATED = [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]


def test_an_event_reaches_the_webhooks_of_its_workspace_only(uri: str, tmp_path: Path) -> None:
    options = {"environment": OPEN}
    with headrace(uri, tmp_path, "--enable-workspaces", **options) as server, receiver() as there:
        make(uri, "team-a", "team-b")
        with Wire(server.url) as wire:
            teams = [Team(wire, name) for name in ("default", "team-a", "team-b")]
            for team in teams:
                url = f"{there.url}/{team.name}"
                body = {"name": "hook", "url": url, "events": CREATED}
                hook = team.ok("POST", "webhooks", **body)["webhook"]["webhook_id"]
                listed = team.ok("GET", "webhooks")["webhooks"]
                assert [one["webhook_id"] for one in listed] == [hook]
                tested = team.ok("POST", f"webhooks/{hook}/test")["result"]
                assert tested["success"] is True
            for team in reversed(teams):
                team.ok("POST", "registered-models/create", name=f"of {team.name}")
            for team in teams:
                example, event = there.wait_for(2, f"/{team.name}")
                assert example.json()["workspace"] == team.name
                assert event.json()["workspace"] == team.name
                assert event.json()["data"]["name"] == f"of {team.name}"
        assert len(there.received) == 6
