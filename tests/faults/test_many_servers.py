"""Several servers of one database share nothing else: neither memory nor files, as on several machines."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from tests.faults.load import API, JSON, Once, Writer, in_threads
from tests.faults.stored import check_acknowledged, rows
from tests.fix_auth import ADMIN, ADMIN_PASSWORD, headrace_with_users
from tests.fix_postgres import fresh_database
from tests.fix_server import headrace
from tests.fix_users import Person
from tests.receiver import receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.wire import Answer

SERVERS = 3
OPEN = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true"}
ACCOUNTS = "2.0/mlflow/users/"


@pytest.fixture(scope="module")
def uri(postgres_server: str, postgres_template: str) -> Iterator[str]:
    with fresh_database(postgres_server, postgres_template) as made:
        yield made


@pytest.fixture(scope="module")
def urls(uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The servers, each in a working directory of its own; the second has two processes."""
    with ExitStack() as stack:
        found = []
        for number in range(SERVERS):
            directory = tmp_path_factory.mktemp(f"server-{number}")
            workers = ("--workers", "2") if number == 1 else ()
            server = headrace(uri, directory, "--no-bridge", *workers, environment=OPEN)
            found.append(stack.enter_context(server).url)
        yield found


def at_all(urls: list[str], path: str, body: dict[str, Any]) -> list[Answer]:
    """POST the same to every server at the same time."""
    answers: list[Answer] = []

    def send(url: str) -> None:
        with Once(url) as wire:
            answers.append(wire.post(path, body))

    in_threads([lambda url=url: send(url) for url in urls])  # type: ignore[misc]
    return answers


def test_group_commits_of_several_servers_write_to_the_same_run(uri: str, urls: list[str]) -> None:
    """All of them log to one run, with a shared metric and tags of its own: nothing is lost or doubled."""
    with Once(urls[0]) as wire:
        run_id = wire.new_run()
    writers = [Writer(number, urls[number % SERVERS], run_id) for number in range(2 * SERVERS)]
    for writer in writers:
        writer.start()
    seen: list[int] = []
    with ExitStack() as stack:
        wires = [stack.enter_context(Once(url)) for url in urls]
        for number in range(60):
            name = f"seen-{number}"
            made = wires[number % SERVERS].new_run(name=name)
            for wire in wires:  # every server shows it at once, by its id and in a search
                assert wire.ask("GET", f"{API}runs/get?run_id={made}").status == 200
                body = {"experiment_ids": ["0"], "filter": f"attributes.run_name = '{name}'"}
                seen += [len(wire.made("runs/search", body)["runs"])]
    for writer in writers:
        writer.stop()
        assert set(writer.answers) == {"200"}, writer.answers
    assert seen == [1] * (60 * SERVERS)
    check_acknowledged(uri, run_id, writers)


def test_a_name_is_given_once(uri: str, urls: list[str]) -> None:
    """Of three requests for the same experiment or model one succeeds; the others get the same error."""
    for number in range(10):
        for path, error in (
            ("experiments/create", "RESOURCE_ALREADY_EXISTS"),
            ("registered-models/create", "RESOURCE_ALREADY_EXISTS"),
        ):
            answers = at_all(urls, path, {"name": f"wanted-{number}"})
            assert sorted(answer.status for answer in answers) == [200, 400, 400]
            assert {a.json()["error_code"] for a in answers if a.status == 400} == {error}
    names = "SELECT count(*), count(DISTINCT name) FROM experiments WHERE name LIKE 'wanted-%'"
    assert rows(uri, names) == [(10, 10)]


def test_versions_are_numbered_without_gaps(urls: list[str]) -> None:
    """However many servers register versions of a model at the same time."""
    with Once(urls[0]) as wire:
        wire.made("registered-models/create", {"name": "numbered"})
    numbers: list[int] = []
    for _ in range(10):
        answers = at_all(urls, "model-versions/create", {"name": "numbered", "source": "s3://b/m"})
        assert {answer.status for answer in answers} == {200}
        numbers += [int(answer.json()["model_version"]["version"]) for answer in answers]
    assert sorted(numbers) == list(range(1, 10 * SERVERS + 1))


def test_a_webhook_is_told_once_by_the_server_of_the_event(urls: list[str]) -> None:
    """Whichever server made the webhook; none tells it after another has deleted it."""
    events = [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]
    with receiver() as there, Once(urls[0]) as first, Once(urls[1]) as second:
        ids = []
        for name in ("witness", "deleted"):
            hook = {"name": name, "url": f"{there.url}/{name}", "events": events}
            ids.append(first.made("webhooks", hook)["webhook"]["webhook_id"])
        for number, url in enumerate(urls):
            with Once(url) as wire:
                wire.made("registered-models/create", {"name": f"told-{number}"})
        there.wait_for(SERVERS, "/deleted")
        there.wait_for(SERVERS, "/witness")
        assert second.ask("DELETE", f"{API}webhooks/{ids[1]}", b"{}", headers=JSON).status == 200
        first.made("registered-models/create", {"name": "after"})
        there.wait_for(SERVERS + 1, "/witness")
        assert second.ask("DELETE", f"{API}webhooks/{ids[0]}", b"{}", headers=JSON).status == 200
    told = sorted((r.path, json.loads(r.body)["data"]["name"]) for r in there.received)
    names = [f"told-{number}" for number in range(SERVERS)]
    wanted = [("/deleted", name) for name in names] + [("/witness", n) for n in ["after", *names]]
    assert told == sorted(wanted)


def test_a_change_of_users_counts_at_every_server_at_once(
    postgres_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A new password, a grant that is taken back, a deleted user: with passwords remembered by each server."""
    directories = [tmp_path_factory.mktemp(name) for name in ("one", "other")]
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(
                headrace_with_users(
                    postgres_uri, directory, postgres_uri, "--no-bridge", cache_s=60
                )
            ).url
            for directory in directories
        )
        root = stack.enter_context(Person(one, ADMIN, ADMIN_PASSWORD))
        first, second = "first password of ann", "second password of ann"
        root.ok("POST", ACCOUNTS + "create", username="ann", password=first)
        made = root.ok("POST", "2.0/mlflow/experiments/create", name="granted")["experiment_id"]
        ann = stack.enter_context(Person(other, "ann", first))
        grant = {"username": "ann", "resource_type": "experiment", "resource_id": made}

        def may_tag(who: Person) -> int:
            fields = {"experiment_id": made, "key": "k", "value": "v"}
            return who.call("POST", "2.0/mlflow/experiments/set-experiment-tag", **fields).status

        for _ in range(3):
            assert may_tag(ann) == 403
            root.ok("POST", "3.0/mlflow/users/permissions/grant", permission="EDIT", **grant)
            assert may_tag(ann) == 200
            root.ok("POST", "3.0/mlflow/users/permissions/revoke", **grant)
        assert may_tag(ann) == 403
        root.ok("PATCH", ACCOUNTS + "update-password", username="ann", password=second)
        assert may_tag(ann) == 401
        again = stack.enter_context(Person(other, "ann", second))
        assert may_tag(again) == 403
        root.ok("DELETE", ACCOUNTS + "delete", username="ann")
        assert may_tag(again) == 401
