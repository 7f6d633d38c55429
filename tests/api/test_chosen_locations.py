"""Users reach no artifacts of others through a location that they choose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.fix_s3 import BUCKET
from tests.fix_server import headrace
from tests.fix_users import PASSWORD, Person, auth_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fix_s3 import S3

API = "2.0/mlflow"
FORBIDDEN = 403


@pytest.fixture(params=["local", "bucket"])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Any]]:
    if request.param == "local":
        yield f"{tmp_path}/store", {}
    else:
        s3: S3 = request.getfixturevalue("s3")
        yield f"s3://{BUCKET}/mlflow", s3.environment


def test_a_location_in_the_servers_store_needs_permission(
    uri: str, tmp_path: Path, destination: tuple[str, Any]
) -> None:
    where, more = destination
    environment = more | auth_environment(tmp_path, uri)
    options = ("--app-name", "basic-auth", "--artifacts-destination", where)
    with (
        headrace(uri, tmp_path, *options, environment=environment) as server,
        Person(server.url) as root,
        Person(server.url, "alice") as alice,
        Person(server.url, "bob") as bob,
    ):
        for name in ("alice", "bob"):
            root.ok("POST", f"{API}/users/create", username=name, password=PASSWORD)
        secret = alice.ok("POST", f"{API}/experiments/create", name="secret")["experiment_id"]
        run = alice.ok("POST", f"{API}/runs/create", experiment_id=secret)["run"]["info"]["run_id"]
        deny = {"resource_type": "experiment", "resource_id": secret, "permission": "DENY"}
        root.ok("POST", "3.0/mlflow/users/permissions/grant", username="bob", **deny)
        for person, name in ((alice, "mine"), (bob, "his")):
            person.ok("POST", f"{API}/registered-models/create", name=name)
        below = f"{secret}/{run}/artifacts"
        for source in (f"{where}/{below}", f"mlflow-artifacts:/{below}", where):
            answer = bob.call(
                "POST", f"{API}/experiments/create", name="x", artifact_location=source
            )
            assert answer.status == FORBIDDEN, (source, answer)
        alice.ok(
            "POST", f"{API}/experiments/create", name="y", artifact_location=f"{where}/{below}"
        )
        bob.ok("POST", f"{API}/experiments/create", name="z", artifact_location="s3://away/x")
        versions = f"{API}/model-versions/create"
        proxied = f"mlflow-artifacts:/{below}"
        alice.ok("POST", versions, name="mine", source=proxied, run_id=run)
        bob.ok("POST", versions, name="his", source="s3://away/x")
        if where.startswith("s3:"):  # local sources must be in a run that the user may read
            alice.ok("POST", versions, name="mine", source=f"{where}/{below}")
            for source in (where, f"{where}/{secret}", f"{where}/{below}"):
                answer = bob.call("POST", versions, name="his", source=source)
                assert answer.status == FORBIDDEN, (source, answer)
