"""experiments/*: create, get, get-by-name, update, delete, restore, tags."""

from __future__ import annotations

from tests.compat.dialogue import Ask, Dialogue, experiment, get, post, run

LOCATIONS = {
    "s3": "s3://bucket/$dialogue/a",
    "gs": "gs://bucket/p",
    "file": "file:///tmp/somewhere",
    "wasbs": "wasbs://c@a.blob.core.windows.net/p",
    "dbfs": "dbfs:/p",
    "mlflow-artifacts": "mlflow-artifacts:/p/q",
    "s3 with a trailing slash": "s3://bucket/p/",
    "s3 with a query": "s3://bucket/p?x=1",
    "an absolute path": "/tmp/here",
    "upper case scheme": "S3://Bucket/P",
    "spaces": "s3://bucket/a b",
    "unicode": "s3://bucket/é",
    "percent": "s3://bucket/a%20b",
    "empty": "",
}
REFUSED_LOCATIONS = {
    "runs": "runs:/x/y",
    "http": "http://h/x",
    "https": "https://h/x",
    "ftp": "ftp://h/x",
    "sftp": "sftp://h/x",
    "hdfs": "hdfs://h/x",
    "viewfs": "viewfs://h/x",
    "r2": "r2://b@a/x",
    "b2": "b2://b/x",
    "abfss": "abfss://c@a.dfs.core.windows.net/x",
    "mlflow-artifacts with a host": "mlflow-artifacts://host:80/x",
    "fragment": "s3://b/x#f",
    "params": "s3://b/x;p",
    "query that climbs": "s3://b/x?a=../../b",
    "2049 characters": "s3://b/" + "x" * 2042,
}


def located(label: str, location: str) -> tuple[Ask, ...]:
    """Create an experiment at a location; read it and the location of its runs."""
    name = f"$dialogue {label}"
    return (
        post(
            f"create: {label}",
            "experiments/create",
            {"name": name, "artifact_location": location},
            keep={"exp": "experiment_id"},
        ),
        get(f"get: {label}", "experiments/get", {"experiment_id": "$exp"}),
        run(f"run: {label}"),
    )


CREATE = Dialogue(
    "create an experiment",
    (
        experiment(),
        get("get it", "experiments/get", {"experiment_id": "$exp"}),
        post(
            "with all fields",
            "experiments/create",
            {
                "name": "$dialogue full",
                "artifact_location": "s3://bucket/full",
                "tags": [{"key": "team", "value": "x"}, {"key": "novalue"}],
            },
            keep={"full": "experiment_id"},
        ),
        get("get the full one", "experiments/get", {"experiment_id": "$full"}),
        post("the same name", "experiments/create", {"name": "$dialogue"}),
        post("no name", "experiments/create", {}),
        post("empty name", "experiments/create", {"name": ""}),
        post("null name", "experiments/create", {"name": None}),
        post("name of spaces", "experiments/create", {"name": "   "}),
        post("name in unicode", "experiments/create", {"name": "$dialogue é 実験 🚀"}),
        get(
            "by unicode name", "experiments/get-by-name", {"experiment_name": "$dialogue é 実験 🚀"}
        ),
        post("name with a quote", "experiments/create", {"name": "$dialogue 'a' \"b\" \\"}),
        get(
            "by quoted name",
            "experiments/get-by-name",
            {"experiment_name": "$dialogue 'a' \"b\" \\"},
        ),
        post("name of 256 characters", "experiments/create", {"name": "n" * 256}),
        post("name of 257 characters", "experiments/create", {"name": "m" * 257}),
        post("name of 500 characters", "experiments/create", {"name": "n" * 500}),
        post("name of 501 characters", "experiments/create", {"name": "n" * 501}),
        post("unknown field", "experiments/create", {"name": "$dialogue unknown", "zzz": 1}),
        post(
            "tag keys twice",
            "experiments/create",
            {
                "name": "$dialogue twice",
                "tags": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}],
            },
        ),
        post(
            "bad tag key",
            "experiments/create",
            {"name": "$dialogue tag", "tags": [{"key": "a?b", "value": "1"}]},
        ),
        post(
            "tag without key",
            "experiments/create",
            {"name": "$dialogue keyless", "tags": [{"value": "1"}]},
        ),
        post(
            "long tag key",
            "experiments/create",
            {"name": "$dialogue long", "tags": [{"key": "k" * 251, "value": "1"}]},
        ),
        post(
            "tag value of 5001 characters",
            "experiments/create",
            {"name": "$dialogue value", "tags": [{"key": "k", "value": "v" * 5001}]},
        ),
        post(
            "many tags",
            "experiments/create",
            {
                "name": "$dialogue many",
                "tags": [{"key": f"k{i:03}", "value": str(i)} for i in range(150)],
            },
        ),
        get("many tags again", "experiments/get-by-name", {"experiment_name": "$dialogue many"}),
    ),
)

LOCATED = Dialogue(
    "artifact locations",
    tuple(ask for label, location in LOCATIONS.items() for ask in located(label, location)),
)

NOT_LOCATED = Dialogue(
    "artifact locations refused",
    tuple(
        post(label, "experiments/create", {"name": "$dialogue", "artifact_location": location})
        for label, location in REFUSED_LOCATIONS.items()
    ),
)

GET = Dialogue(
    "get an experiment",
    (
        get("default", "experiments/get", {"experiment_id": "0"}),
        get("default by name", "experiments/get-by-name", {"experiment_name": "Default"}),
        get("no id", "experiments/get"),
        get("empty id", "experiments/get", {"experiment_id": ""}),
        get("not an integer", "experiments/get", {"experiment_id": "abc"}),
        get("a float", "experiments/get", {"experiment_id": "1.5"}),
        get("negative", "experiments/get", {"experiment_id": "-1"}),
        get("spaces around", "experiments/get", {"experiment_id": " 0 "}),
        get("with a plus", "experiments/get", "experiment_id=%2B0"),
        get("underscore", "experiments/get", {"experiment_id": "0_0"}),
        get("leading zeros", "experiments/get", {"experiment_id": "000"}),
        get("other digits", "experiments/get", {"experiment_id": "٠"}),
        get("unknown", "experiments/get", {"experiment_id": "999999"}),
        get("32 bits and more", "experiments/get", {"experiment_id": "2147483648"}),
        get("64 bits and more", "experiments/get", {"experiment_id": "9223372036854775808"}),
        get("unknown parameter", "experiments/get", {"experiment_id": "0", "x": "y"}),
        get("the first of two", "experiments/get", "experiment_id=0&experiment_id=999999"),
        get("camelCase in a query", "experiments/get", {"experimentId": "0"}),
        Ask("id in a body", "GET", "experiments/get", {"experiment_id": "0"}),
        Ask("number in a body", "GET", "experiments/get", {"experiment_id": 0}),
        Ask(
            "query beats body",
            "GET",
            "experiments/get",
            {"experiment_id": "999999"},
            query={"experiment_id": "0"},
        ),
        Ask("HEAD", "HEAD", "experiments/get", query={"experiment_id": "0"}),
        get("no name", "experiments/get-by-name"),
        get("empty name", "experiments/get-by-name", {"experiment_name": ""}),
        get("unknown name", "experiments/get-by-name", {"experiment_name": "nope"}),
        get("name in another case", "experiments/get-by-name", {"experiment_name": "default"}),
        get("name with percent", "experiments/get-by-name", "experiment_name=Def%61ult"),
        get("name with plus", "experiments/get-by-name", "experiment_name=a+b%2Bc"),
        get("name not UTF-8", "experiments/get-by-name", "experiment_name=%ff%fe"),
    ),
)

LIFECYCLE = Dialogue(
    "lifecycle of an experiment",
    (
        experiment(),
        run(keep="kept", label="kept"),
        run(keep="gone", label="gone"),
        post("delete one run", "runs/delete", {"run_id": "$gone"}),
        post("rename", "experiments/update", {"experiment_id": "$exp", "new_name": "$dialogue 2"}),
        get("renamed", "experiments/get", {"experiment_id": "$exp"}),
        post(
            "rename to itself",
            "experiments/update",
            {"experiment_id": "$exp", "new_name": "$dialogue 2"},
        ),
        post("rename without name", "experiments/update", {"experiment_id": "$exp"}),
        post("rename to empty", "experiments/update", {"experiment_id": "$exp", "new_name": ""}),
        post("rename to a number", "experiments/update", {"experiment_id": "$exp", "new_name": 7}),
        post(
            "rename to a taken name",
            "experiments/update",
            {"experiment_id": "$exp", "new_name": "Default"},
        ),
        post(
            "rename to 501 characters",
            "experiments/update",
            {"experiment_id": "$exp", "new_name": "n" * 501},
        ),
        post("rename without id", "experiments/update", {"new_name": "x"}),
        post("rename unknown", "experiments/update", {"experiment_id": "999999", "new_name": "x"}),
        post("rename abc", "experiments/update", {"experiment_id": "abc", "new_name": "x"}),
        post("delete", "experiments/delete", {"experiment_id": "$exp"}),
        get("deleted", "experiments/get", {"experiment_id": "$exp"}),
        get("deleted by name", "experiments/get-by-name", {"experiment_name": "$dialogue 2"}),
        get("run of deleted", "runs/get", {"run_id": "$kept"}),
        post("delete again", "experiments/delete", {"experiment_id": "$exp"}),
        post("create over deleted", "experiments/create", {"name": "$dialogue 2"}),
        post("rename deleted", "experiments/update", {"experiment_id": "$exp", "new_name": "x"}),
        post(
            "tag deleted",
            "experiments/set-experiment-tag",
            {"experiment_id": "$exp", "key": "k", "value": "v"},
        ),
        post(
            "untag deleted",
            "experiments/delete-experiment-tag",
            {"experiment_id": "$exp", "key": "k"},
        ),
        post("run in deleted", "runs/create", {"experiment_id": "$exp"}),
        post(
            "metric in run of deleted",
            "runs/log-metric",
            {"run_id": "$kept", "key": "m", "value": 1.0, "timestamp": 1},
        ),
        post("restore", "experiments/restore", {"experiment_id": "$exp"}),
        get("restored", "experiments/get", {"experiment_id": "$exp"}),
        get("run of restored", "runs/get", {"run_id": "$kept"}),
        get("run deleted before", "runs/get", {"run_id": "$gone"}),
        post("restore again", "experiments/restore", {"experiment_id": "$exp"}),
        post("delete without id", "experiments/delete", {}),
        post("delete unknown", "experiments/delete", {"experiment_id": "999999"}),
        post("delete abc", "experiments/delete", {"experiment_id": "abc"}),
        post("delete number", "experiments/delete", {"experiment_id": 1}),
        post("restore without id", "experiments/restore", {}),
        post("restore unknown", "experiments/restore", {"experiment_id": "999999"}),
        post("restore abc", "experiments/restore", {"experiment_id": "abc"}),
    ),
)


def set_tag(label: str, **fields: object) -> Ask:
    return post(label, "experiments/set-experiment-tag", {"experiment_id": "$exp"} | fields)


def delete_tag(label: str, **fields: object) -> Ask:
    return post(label, "experiments/delete-experiment-tag", {"experiment_id": "$exp"} | fields)


TAGS = Dialogue(
    "tags of an experiment",
    (
        experiment(),
        set_tag("set", key="k", value="v"),
        set_tag("overwrite", key="k", value="w"),
        set_tag("second", key="a", value="first in the alphabet"),
        set_tag("empty value", key="e", value=""),
        set_tag("unicode", key="ключ", value="значение 🚀"),
        set_tag("slashes and colons", key="a/b:c d.e-f_g", value="v"),
        set_tag("key of 250", key="k" * 250, value="v"),
        set_tag("note", key="mlflow.note.content", value="# Title"),
        get("tags", "experiments/get", {"experiment_id": "$exp"}, unordered=("tags",)),
        set_tag("key of 251", key="k" * 251, value="v"),
        set_tag("value of 5000", key="v5000", value="v" * 5000),
        set_tag("value of 5001", key="v5001", value="v" * 5001),
        set_tag("value of 20000", key="v20000", value="v" * 20000),
        set_tag("value of 20001", key="v20001", value="v" * 20001),
        set_tag("bad characters", key="a?b", value="v"),
        set_tag("climbing key", key="../a", value="v"),
        set_tag("absolute key", key="/a", value="v"),
        set_tag("dot", key=".", value="v"),
        set_tag("double slash", key="a//b", value="v"),
        set_tag("trailing slash", key="a/", value="v"),
        set_tag("newline in key", key="a\nb", value="v"),
        set_tag("no key", value="v"),
        set_tag("empty key", key="", value="v"),
        set_tag("number key", key=1, value="v"),
        set_tag("number value", key="n", value=1),
        set_tag("null value", key="n", value=None),
        set_tag("no value", key="n"),
        set_tag("unknown experiment", experiment_id="999999", key="n", value="v"),
        set_tag("abc", experiment_id="abc", key="n", value="v"),
        set_tag("no experiment", experiment_id=None, key="n", value="v"),
        set_tag("archival", key="mlflow.trace.archivalLocation", value="s3://b/x"),
        delete_tag("delete", key="k"),
        delete_tag("delete again", key="k"),
        delete_tag("delete without key"),
        delete_tag("delete empty key", key=""),
        delete_tag("delete bad key", key="a?b"),
        delete_tag("delete long key", key="k" * 251),
        delete_tag("delete of unknown experiment", experiment_id="999999", key="a"),
        delete_tag("delete of abc", experiment_id="abc", key="a"),
        get("tags left", "experiments/get", {"experiment_id": "$exp"}, unordered=("tags",)),
    ),
)

VIEW = "mlflow.customView.view.v1."


def with_views(count: int) -> dict[str, object]:
    tags = [{"key": f"{VIEW}{n}", "value": "{}"} for n in range(count)]
    return {"name": f"$dialogue {count}", "tags": tags}


VIEWS = Dialogue(
    "custom views of an experiment",
    (
        post("51 at once", "experiments/create", with_views(51)),
        post("50 at once", "experiments/create", with_views(50), keep={"exp": "experiment_id"}),
        set_tag("one more", key=f"{VIEW}x", value="{}"),
        set_tag("one more, bad key", key=f"{VIEW}?", value="{}"),
        set_tag("one that is there", key=f"{VIEW}3", value="other"),
        set_tag("another tag", key="mlflow.customView", value="{}"),
        delete_tag("delete one", key=f"{VIEW}3"),
        set_tag("bad key, with room", key=f"{VIEW}?", value="{}"),
        set_tag("one more, with room", key=f"{VIEW}x", value="{}"),
        set_tag("one too many again", key="mlflow.customView.viewer", value="{}"),
        set_tag("of an unknown experiment", experiment_id="999999", key=f"{VIEW}?", value="{}"),
        set_tag("of abc", experiment_id="abc", key=f"{VIEW}?", value="{}"),
        post("delete the experiment", "experiments/delete", {"experiment_id": "$exp"}),
        set_tag("of a deleted experiment", key=f"{VIEW}x", value="{}"),
    ),
)

DURATIONS = (
    *("30d", "", "{}", "[]", "5", "null", '{"older_than": null}', '{"type": "forever", "value": "1d"}'),
    *('{"type": "duration"}', '{"type": "duration", "value": 5}', '{"type": "duration", "value": ""}'),
    *(
        f'{{"type": "duration", "value": "{text}", "older_than": "{text}"}}'
        for text in ("30d", "12h", "1m", " 1d ", "0d", "1w", "1.5d", "-1d", "d", "1" * 31 + "d", "1" * 32 + "d")
    ),
)  # fmt: skip

ARCHIVAL = Dialogue(
    "archival tags of an experiment",
    (
        experiment(),
        *(
            set_tag(f"{key}: {text}", key=f"mlflow.trace.{key}", value=text)
            for key in ("archivalRetention", "archiveNow")
            for text in DURATIONS
        ),
        post(
            "create with a wrong one",
            "experiments/create",
            {"name": "$dialogue 2", "tags": [{"key": "mlflow.trace.archiveNow", "value": "x"}]},
        ),
        set_tag("no value", key="mlflow.trace.archiveNow"),
        get("tags", "experiments/get", {"experiment_id": "$exp"}, unordered=("tags",)),
    ),
)

DIALOGUES = (CREATE, LOCATED, NOT_LOCATED, GET, LIFECYCLE, TAGS, VIEWS, ARCHIVAL)
