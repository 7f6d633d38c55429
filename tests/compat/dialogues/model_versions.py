"""model-versions/*: create, get, update, transition-stage, delete, tags, download URI."""

from __future__ import annotations

from typing import Any

from tests.compat.dialogue import Ask, Dialogue, delete, get, patch, post
from tests.compat.dialogues.registered_models import BAD_TAGS, model, shown, stage, version

NUMBERS: dict[str, Any] = {
    "unknown": "99",
    "zero": "0",
    "negative": "-1",
    "text": "abc",
    "fraction": "1.0",
    "with spaces": " 1 ",
    "with a sign": "+1",
    "with underscore": "0_1",
    "2**31": "2147483648",
    "2**63": "9223372036854775808",
    "number": 1,
    "empty": "",
    "null": None,
}


def got(label: str, number: str = "1", name: str = "$dialogue") -> Ask:
    """Get a version."""
    query = {"name": name, "version": number}
    return get(label, "model-versions/get", query, unordered=("tags", "aliases"))


def uri(label: str, number: str = "1", name: str = "$dialogue") -> Ask:
    """Get a version's download URI."""
    query = {"name": name, "version": number}
    return get(label, "model-versions/get-download-uri", query)


CREATE = Dialogue(
    "create a model version",
    (
        model(),
        version(),
        got("get it"),
        uri("where it is"),
        version(
            "with all fields",
            run_id="0" * 32,
            run_link="https://example.com/run",
            description="text",
            tags=[{"key": "a", "value": "1"}, {"key": "novalue"}],
        ),
        got("get the full one", "2"),
        version("empty fields", run_id="", run_link="", description="", tags=[], model_id=""),
        got("get the empty one", "3"),
        version(
            "tag keys twice",
            tags=[
                {"key": "a", "value": "1"},
                {"key": "b", "value": "x"},
                {"key": "a", "value": "2"},
            ],
        ),
        got("get the one with tag keys twice", "4"),
        version("source of 500", source="s3://b/" + "p" * 493),
        version("source of 501", source="s3://b/" + "p" * 494),
        version("description of 5000", description="d" * 5000),
        version("description of 5001", description="d" * 5001),
        version("run id of 33", run_id="r" * 33),
        version("run link of 501", run_link="l" * 501),
        version("tag value of 100000", tags=[{"key": "k", "value": "v" * 100_000}]),
        version("unknown field", zzz=1),
        version("unknown model", "nobody"),
        version("bad model", "a/b"),
        version("unknown model and bad tag", "nobody", tags=[{"key": "a?b", "value": "1"}]),
        version("unknown logged model", model_id="m-nobody"),
        version("number as source", source=1),
        version("empty source", source=""),
        version("null source", source=None),
        version("number as run", run_id=1),
        version("tags as object", tags={"a": "b"}),
        post("no name", "model-versions/create", {"source": "s3://b/p"}),
        post("no body", "model-versions/create"),
        model("a model of refused versions", "$dialogue bad"),
        *(
            version(f"bad tags: {label}", "$dialogue bad", tags=tags)
            for label, tags in BAD_TAGS.items()
            if label != "value of 5001"
        ),
    ),
)

GET = Dialogue(
    "get a model version",
    (
        model(),
        version(),
        *(
            got(f"version {label}", number)
            for label, number in NUMBERS.items()
            if isinstance(number, str)
        ),
        *(
            uri(f"uri of version {label}", number)
            for label, number in NUMBERS.items()
            if isinstance(number, str)
        ),
        got("unknown model", name="nobody"),
        got("bad model", name="a/b"),
        got("bad model and version", "abc", "a/b"),
        uri("uri of unknown model", name="nobody"),
        uri("uri of bad model", name="a/b"),
        get("no version", "model-versions/get", {"name": "$dialogue"}),
        get("no name", "model-versions/get", {"version": "1"}),
        get("nothing", "model-versions/get"),
        get("uri of nothing", "model-versions/get-download-uri"),
        get("uri without version", "model-versions/get-download-uri", {"name": "$dialogue"}),
        get("uri without name", "model-versions/get-download-uri", {"version": "1"}),
    ),
)


def update(label: str, **fields: Any) -> Ask:
    """Change a version's description."""
    return patch(label, "model-versions/update", {"name": "$dialogue", "version": "1"} | fields)


UPDATE = Dialogue(
    "change a model version",
    (
        model(),
        version(description="old", tags=[{"key": "a", "value": "b"}]),
        post(
            "alias", "registered-models/alias", {"name": "$dialogue", "alias": "a", "version": "1"}
        ),
        update("describe", description="new"),
        got("described"),
        update("no description"),
        got("description gone"),
        update("empty description", description=""),
        got("description empty"),
        update("null", description=None),
        update("number", description=1),
        update("long", description="d" * 5001),
        *(
            update(f"version {label}", version=number, description="x")
            for label, number in NUMBERS.items()
        ),
        update("unknown model", name="nobody", description="x"),
        update("bad model", name="a/b", description="x"),
        patch("no version", "model-versions/update", {"name": "$dialogue", "description": "x"}),
        patch("no body", "model-versions/update"),
        got("at the end"),
    ),
)

STAGES = Dialogue(
    "stages",
    (
        model(),
        version("version 1"),
        version("version 2"),
        version("version 3"),
        post(
            "alias", "registered-models/alias", {"name": "$dialogue", "alias": "a", "version": "1"}
        ),
        stage("1 to Production", 1, "Production", archive_existing_versions=False),
        stage("2 to production, archive", 2, "production", archive_existing_versions=True),
        got("1 is archived"),
        stage("3 to Staging, archive", 3, "STAGING", archive_existing_versions=True),
        stage("2 to Production again, archive", 2, "Production", archive_existing_versions=True),
        stage("1 to none", 1, "none"),
        stage("archive into None", 1, "None", archive_existing_versions=True),
        stage("archive into Archived", 1, "Archived", archive_existing_versions=True),
        stage("bad stage", 1, "bogus"),
        stage("deleted", 1, "Deleted_Internal"),
        stage("blank stage", 1, " "),
        stage("bad stage of unknown version", 99, "bogus"),
        stage("unknown version", 99, "Production", archive_existing_versions=True),
        got("2 is still in production", "2"),
        stage("archive as text", 1, "Production", archive_existing_versions="true"),
        stage("archive as number", 1, "Production", archive_existing_versions=1),
        stage("archive null", 1, "Production", archive_existing_versions=None),
        stage("archive camel case", 3, "Production", archiveExistingVersions=True),
        post(
            "number as version",
            "model-versions/transition-stage",
            {"name": "$dialogue", "version": 1, "stage": "None"},
        ),
        post("no stage", "model-versions/transition-stage", {"name": "$dialogue", "version": "1"}),
        post(
            "unknown model",
            "model-versions/transition-stage",
            {"name": "nobody", "version": "1", "stage": "Production"},
        ),
        post(
            "text as version",
            "model-versions/transition-stage",
            {"name": "$dialogue", "version": "abc", "stage": "Production"},
        ),
        shown("the model afterwards"),
    ),
)


def drop(label: str, **fields: Any) -> Ask:
    """Delete a version."""
    return delete(label, "model-versions/delete", {"name": "$dialogue", "version": "1"} | fields)


DELETE = Dialogue(
    "delete a model version",
    (
        model(),
        version("version 1", tags=[{"key": "a", "value": "b"}], description="d"),
        version("version 2"),
        post(
            "alias", "registered-models/alias", {"name": "$dialogue", "alias": "a", "version": "1"}
        ),
        drop("delete"),
        got("deleted"),
        uri("uri of deleted"),
        drop("delete again"),
        shown("alias gone"),
        *(
            drop(f"version {label}", version=number)
            for label, number in NUMBERS.items()
            if label[:4] != "with"
        ),
        drop("unknown model", name="nobody"),
        drop("bad model", name="a/b"),
        drop("no version", version=None),
        delete("no body", "model-versions/delete"),
        delete(
            "in the query", "model-versions/delete", query={"name": "$dialogue", "version": "2"}
        ),
        drop("delete the newest", version="2"),
        shown("no versions left"),
        version("numbers go on"),
        got("number 3", "3"),
        post(
            "tag of deleted",
            "model-versions/set-tag",
            {"name": "$dialogue", "version": "1", "key": "k"},
        ),
        stage("stage of deleted", 1, "Production"),
    ),
)


def set_tag(label: str, **fields: Any) -> Ask:
    """Set a tag of version 1."""
    return post(label, "model-versions/set-tag", {"name": "$dialogue", "version": "1"} | fields)


def delete_tag(label: str, **fields: Any) -> Ask:
    """Delete a tag of version 1."""
    return delete(
        label, "model-versions/delete-tag", {"name": "$dialogue", "version": "1"} | fields
    )


TAGS = Dialogue(
    "tags of a model version",
    (
        model(),
        version(),
        set_tag("set", key="k", value="v"),
        set_tag("overwrite", key="k", value="w"),
        set_tag("second", key="a", value="x"),
        set_tag("empty value", key="e", value=""),
        set_tag("no value", key="n"),
        set_tag("null value", key="n", value=None),
        set_tag("number value", key="n", value=1),
        set_tag("unicode", key="ключ", value="значение 🚀"),
        set_tag("key of 250", key="k" * 250, value="v"),
        set_tag("key of 251", key="k" * 251, value="v"),
        set_tag("value of 100000", key="v100000", value="v" * 100_000),
        set_tag("value of 100001", key="v100001", value="v" * 100_001),
        set_tag("bad characters", key="a?b", value="v"),
        set_tag("climbing", key="../a", value="v"),
        set_tag("no key", value="v"),
        set_tag("empty key", key="", value="v"),
        set_tag("unknown model", name="nobody", key="k", value="v"),
        set_tag("bad model", name="a:b", key="k", value="v"),
        set_tag("bad version and key", version="abc", key="a?b", value="v"),
        *(
            set_tag(f"version {label}", version=number, key="n", value="v")
            for label, number in NUMBERS.items()
        ),
        got("tags"),
        delete_tag("delete", key="k"),
        delete_tag("delete again", key="k"),
        delete_tag("delete without key"),
        delete_tag("delete empty key", key=""),
        delete_tag("delete bad key", key="a?b"),
        delete_tag("delete of unknown model", name="nobody", key="a"),
        delete_tag("delete of bad model", name="a/b", key="a"),
        *(
            delete_tag(f"delete of version {label}", version=n, key="q")
            for label, n in NUMBERS.items()
        ),
        got("tags left"),
    ),
)

DIALOGUES = (CREATE, GET, UPDATE, STAGES, DELETE, TAGS)
