"""runs/*: create, get, update, delete, restore, and the names a run goes by."""

from __future__ import annotations

from tests.compat.dialogue import Ask, Dialogue, experiment, get, post, run


def create(label: str, **fields: object) -> Ask:
    return post(
        label,
        "runs/create",
        {"experiment_id": "$exp"} | fields,
        keep={"run": "run.info.run_id"},
        unordered=("tags",),
    )


def look(label: str, name: str = "$run") -> Ask:
    return get(label, "runs/get", {"run_id": name}, unordered=("tags", "params", "metrics"))


def update(label: str, **fields: object) -> Ask:
    return post(label, "runs/update", {"run_id": "$run"} | fields)


NAME_TAG = "mlflow.runName"

CREATE = Dialogue(
    "create a run",
    (
        experiment(),
        create("bare"),
        look("bare again"),
        create(
            "all fields",
            user_id="bob",
            start_time=1700000000000,
            run_name="first",
            tags=[{"key": "mlflow.source.name", "value": "train.py"}, {"key": "a", "value": "b"}],
        ),
        look("all fields again"),
        create("name in the tag", tags=[{"key": NAME_TAG, "value": "tagged"}]),
        look("name in the tag again"),
        create("name twice, equal", run_name="same", tags=[{"key": NAME_TAG, "value": "same"}]),
        create("name twice, different", run_name="a", tags=[{"key": NAME_TAG, "value": "b"}]),
        create("empty name", run_name=""),
        create("null name", run_name=None),
        create("empty name, name in the tag", run_name="", tags=[{"key": NAME_TAG, "value": "t"}]),
        create("name, empty name tag", run_name="n", tags=[{"key": NAME_TAG, "value": ""}]),
        create("empty name tag", tags=[{"key": NAME_TAG, "value": ""}]),
        create("name of spaces", run_name="  "),
        create("name in unicode", run_name="läuft 🚀"),
        create("name of 250 characters", run_name="n" * 250),
        create("name of 251 characters", run_name="n" * 251),
        create("user in a tag", tags=[{"key": "mlflow.user", "value": "carol"}]),
        create("user of 256 characters", user_id="u" * 256),
        create("user of 257 characters", user_id="u" * 257),
        create("empty user", user_id=""),
        create("tag keys twice", tags=[{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]),
        create("same tag twice", tags=[{"key": "a", "value": "1"}, {"key": "a", "value": "1"}]),
        create("bad tag key", tags=[{"key": "a?b", "value": "1"}]),
        create("tag without a key", tags=[{"value": "1"}]),
        create("tag without a value", tags=[{"key": "a"}]),
        look("tag without a value again"),
        create("tag key of 250", tags=[{"key": "k" * 250, "value": "1"}]),
        create("tag key of 251", tags=[{"key": "k" * 251, "value": "1"}]),
        create("tag value of 8000", tags=[{"key": "k", "value": "v" * 8000}]),
        create("tag value of 8001", tags=[{"key": "k", "value": "v" * 8001}]),
        create("empty tag list", tags=[]),
        create("empty tag", tags=[{}]),
        create("null tags", tags=None),
        create("start time as text", start_time="1700000000000"),
        create("start time as integral float", start_time=1700000000000.0),
        create("start time with an exponent", start_time=1.7e12),
        create("start time negative", start_time=-5),
        create("start time zero", start_time=0),
        create("start time null", start_time=None),
        create("start time at its largest", start_time=9223372036854775807),
        create("camelCase", runName="camel", startTime=5, userId="u"),
        create("both spellings", run_name="a", runName="b"),
        create("both spellings, equal", run_name="a", runName="a"),
        create("both spellings, one null", run_name="a", runName=None),
        create("unknown field", zzz={"deep": [1, 2]}),
        create("experiment camelCase", experiment_id=None, experimentId="0"),
        create("no experiment", experiment_id=None),
        create("empty experiment", experiment_id=""),
        create("unknown experiment", experiment_id="999999"),
        create("experiment abc", experiment_id="abc"),
        create("experiment with spaces", experiment_id=" 0 "),
        create("experiment as a number", experiment_id=0),
        create("start time of letters", start_time="abc"),
        create("system tags", tags=[
            {"key": "mlflow.source.type", "value": "LOCAL"},
            {"key": "mlflow.source.git.commit", "value": "abc"},
            {"key": "mlflow.parentRunId", "value": "p"},
        ]),
        look("system tags again"),
    ),
)  # fmt: skip

GET = Dialogue(
    "get a run",
    (
        experiment(),
        run(),
        look("it"),
        get("by run_uuid", "runs/get", {"run_uuid": "$run"}),
        get("by both", "runs/get", {"run_id": "$run", "run_uuid": "nope"}),
        get("by both, run_id unknown", "runs/get", {"run_id": "nope", "run_uuid": "$run"}),
        get("no id", "runs/get"),
        get("empty id", "runs/get", {"run_id": ""}),
        get("empty run_id, good run_uuid", "runs/get", {"run_id": "", "run_uuid": "$run"}),
        get("unknown", "runs/get", {"run_id": "nope"}),
        get("unknown uuid", "runs/get", {"run_id": "0" * 32}),
        get("strange id", "runs/get", {"run_id": "'; DROP TABLE runs; --"}),
        get("long id", "runs/get", {"run_id": "r" * 5000}),
        get("id with a NUL", "runs/get", "run_id=a%00b"),
        get("camelCase in a query", "runs/get", {"runId": "$run"}),
        get("unknown parameter", "runs/get", {"run_id": "$run", "a": "b"}),
        Ask("in a body", "GET", "runs/get", {"run_id": "$run"}),
        Ask("in a body, camelCase", "GET", "runs/get", {"runId": "$run"}),
        post("by POST", "runs/get", {"run_id": "$run"}),
    ),
)

UPDATE = Dialogue(
    "update a run",
    (
        experiment(),
        run(),
        update("nothing"),
        update(
            "status, time and name", status="FINISHED", end_time=1700000001000, run_name="second"
        ),
        look("after"),
        update("status alone", status="FAILED"),
        update("status by number", status=5),
        update("status by numeric text", status="1"),
        update("status SCHEDULED", status="SCHEDULED"),
        update("status RUNNING keeps end_time", status="RUNNING"),
        update("end_time alone", end_time=7),
        update("end_time as text", end_time="8"),
        update("end_time as float", end_time=9.0),
        update("end_time zero", end_time=0),
        update("end_time negative", end_time=-1),
        update("end_time null", end_time=None),
        update("empty name", run_name=""),
        update("null name", run_name=None),
        update("name of spaces", run_name=" "),
        update("name in unicode", run_name="läuft 🚀"),
        look("with the name of unicode"),
        update("name of 250", run_name="n" * 250),
        update("name of 251", run_name="m" * 251),
        update("camelCase", endTime=11, runName="camel"),
        update("both spellings", end_time=1, endTime=2),
        update("unknown field", zzz=1),
        update("by run_uuid", run_id=None, run_uuid="$run", status="KILLED"),
        update("by run_uuid alone", run_id="", run_uuid="$run"),
        update("no id", run_id=None),
        update("unknown run", run_id="nope", status="FINISHED"),
        update("wrong type of name", run_name=5),
        update("wrong type of end_time", end_time="soon"),
        post("delete it", "runs/delete", {"run_id": "$run"}),
        update("deleted", status="FINISHED"),
        run("finished without end_time", keep="run"),
        update("finish", status="FINISHED"),
        look("finished"),
        update("rename after deleting the tag", run_name="x"),
        post("delete name tag", "runs/delete-tag", {"run_id": "$run", "key": NAME_TAG}),
        look("name tag gone"),
        update("name comes back", run_name="back"),
        look("name tag back"),
    ),
)

LIFECYCLE = Dialogue(
    "lifecycle of a run",
    (
        experiment(),
        run(),
        post("metric", "runs/log-metric", {"run_id": "$run", "key": "m", "value": 1.0, "timestamp": 1}),
        post("delete", "runs/delete", {"run_id": "$run"}),
        look("deleted"),
        post("delete again", "runs/delete", {"run_id": "$run"}),
        *(
            post(f"write to deleted: {path}", path, {"run_id": "$run"} | fields)
            for path, fields in {
                "runs/log-metric": {"key": "m", "value": 1.0, "timestamp": 1},
                "runs/log-parameter": {"key": "p", "value": "1"},
                "runs/set-tag": {"key": "t", "value": "1"},
                "runs/delete-tag": {"key": NAME_TAG},
                "runs/log-batch": {"tags": [{"key": "t", "value": "1"}]},
                "runs/log-inputs": {"datasets": []},
                "runs/outputs": {"models": [{"model_id": "m-1"}]},
                "runs/update": {"status": "FINISHED"},
            }.items()
        ),
        post("empty batch to deleted", "runs/log-batch", {"run_id": "$run"}),
        get("history of deleted", "metrics/get-history", {"run_id": "$run", "metric_key": "m"}),
        post("restore", "runs/restore", {"run_id": "$run"}),
        look("restored"),
        post("restore again", "runs/restore", {"run_id": "$run"}),
        post("write to restored", "runs/set-tag", {"run_id": "$run", "key": "t", "value": "1"}),
        post("delete without id", "runs/delete", {}),
        post("delete by run_uuid", "runs/delete", {"run_uuid": "$run"}),
        post("delete by runId", "runs/delete", {"runId": "$run"}),
        post("delete unknown", "runs/delete", {"run_id": "nope"}),
        post("delete number", "runs/delete", {"run_id": 5}),
        post("restore without id", "runs/restore", {}),
        post("restore by run_uuid", "runs/restore", {"run_uuid": "$run"}),
        post("restore unknown", "runs/restore", {"run_id": "nope"}),
    ),
)  # fmt: skip


def set_name(label: str, value: str) -> Ask:
    return post(label, "runs/set-tag", {"run_id": "$run", "key": NAME_TAG, "value": value})


NAMES = Dialogue(
    "names of a run",
    (
        experiment(),
        run(),
        set_name("rename by tag", "tagged"),
        look("renamed by tag"),
        set_name("rename to empty by tag", ""),
        look("renamed to empty by tag"),
        post(
            "rename by batch",
            "runs/log-batch",
            {"run_id": "$run", "tags": [{"key": NAME_TAG, "value": "batched"}]},
        ),
        look("renamed by batch"),
        post(
            "twice in a batch",
            "runs/log-batch",
            {
                "run_id": "$run",
                "tags": [{"key": NAME_TAG, "value": "one"}, {"key": NAME_TAG, "value": "two"}],
            },
        ),
        look("renamed twice"),
        post(
            "to empty in a batch",
            "runs/log-batch",
            {"run_id": "$run", "tags": [{"key": NAME_TAG, "value": ""}, {"key": "t", "value": ""}]},
        ),
        look("renamed to empty in a batch"),
        update("rename by update", run_name="updated"),
        look("renamed by update"),
        post("delete the tag", "runs/delete-tag", {"run_id": "$run", "key": NAME_TAG}),
        look("without the tag"),
        post(
            "search by name, tag gone",
            "runs/search",
            {"experiment_ids": ["$exp"], "filter": "run_name = 'updated'"},
        ),
    ),
)

DIALOGUES = (CREATE, GET, UPDATE, LIFECYCLE, NAMES)
