"""registered-models/*: create, get, update, rename, delete, tags, aliases, latest versions."""

from __future__ import annotations

from typing import Any

from tests.compat.dialogue import Ask, Dialogue, delete, get, patch, post

NAMES = {
    "unicode": "$dialogue é 実験 🚀",
    "spaces inside": "$dialogue  a b",
    "quotes": "$dialogue 'a' \"b\" \\",
    "percent": "$dialogue%20x",
    "dots": "$dialogue.v1..2",
    "newline": "$dialogue\nx",
    "leading space": " $dialogue",
    "256 characters": "n" * 256,
}
BAD_NAMES: dict[str, Any] = {
    "empty": "",
    "null": None,
    "blank": "   ",
    "tab": "\t",
    "slash": "a/b",
    "colon": "a:b",
    "dot": ".",
    "two dots": "..",
    "leading slash": "/a",
    "trailing slash": "a/",
    "number": 7,
    "list": ["a"],
    "boolean": True,
    "257 characters": "m" * 257,
    "NUL": "$dialogue\x00x",
}
BAD_TAGS: dict[str, Any] = {
    "bad characters": [{"key": "a?b", "value": "1"}],
    "climbing": [{"key": "../a", "value": "1"}],
    "no key": [{"value": "1"}],
    "empty key": [{"key": "", "value": "1"}],
    "long key": [{"key": "k" * 251, "value": "1"}],
    "value of 5001": [{"key": "k", "value": "v" * 5001}],
    "value of 100001": [{"key": "k", "value": "v" * 100_001}],
    "number": [{"key": "k", "value": 1}],
    "object": {"key": "k"},
    "text": "k",
    "list of text": ["k"],
}


def model(label: str = "a model", name: str = "$dialogue", **more: Any) -> Ask:
    """Create a registered model."""
    return post(label, "registered-models/create", {"name": name} | more)


def version(label: str = "a version", name: str = "$dialogue", **more: Any) -> Ask:
    """Create a version of a model."""
    body = {"name": name, "source": "s3://bucket/path"} | more
    return post(label, "model-versions/create", body)


def shown(label: str, name: str = "$dialogue") -> Ask:
    """Get a model; the order of the lists is the database's."""
    lists = ("latest_versions", "tags", "aliases")
    return get(label, "registered-models/get", {"name": name}, unordered=lists)


def stage(label: str, number: int, to: str, **more: Any) -> Ask:
    """Move a version to a stage."""
    body = {"name": "$dialogue", "version": str(number), "stage": to} | more
    return post(label, "model-versions/transition-stage", body)


CREATE = Dialogue(
    "create a registered model",
    (
        model(),
        shown("get it"),
        model("the same name"),
        model("the same name with tags", tags=[{"key": "a", "value": "b"}]),
        model(
            "with all fields",
            "$dialogue full",
            description="text",
            tags=[{"key": "a", "value": "1"}, {"key": "novalue"}],
            deployment_job_id="7",
        ),
        shown("get the full one", "$dialogue full"),
        model("empty description", "$dialogue empty", description=""),
        shown("get the one with an empty description", "$dialogue empty"),
        model(
            "tag keys twice",
            "$dialogue twice",
            tags=[
                {"key": "a", "value": "1"},
                {"key": "b", "value": "x"},
                {"key": "a", "value": "2"},
            ],
        ),
        shown("get the one with tag keys twice", "$dialogue twice"),
        model("description of 5000", "$dialogue long", description="d" * 5000),
        model("description of 5001", "$dialogue longer", description="d" * 5001),
        model("description is a number", "$dialogue number", description=1),
        model("tag value of 5000", "$dialogue 5000", tags=[{"key": "k", "value": "v" * 5000}]),
        model("unknown field", "$dialogue unknown", zzz=1),
        model("camel case", "$dialogue camel", deploymentJobId="1"),
        model("upper case is another name", "$DIALOGUE"),
        post("no name", "registered-models/create", {}),
        post("no body", "registered-models/create"),
        post("broken body", "registered-models/create", b'{"name": '),
        post("a list", "registered-models/create", []),
        *(model(f"name: {label}", name) for label, name in NAMES.items()),
        *(shown(f"get name: {label}", name) for label, name in NAMES.items()),
        *(model(f"bad name: {label}", name) for label, name in BAD_NAMES.items()),
        *(
            model(f"bad tags: {label}", f"$dialogue {label}", tags=tags)
            for label, tags in BAD_TAGS.items()
        ),
    ),
)

GET = Dialogue(
    "get a registered model",
    (
        model(description="d"),
        shown("without versions"),
        get("unknown", "registered-models/get", {"name": "nobody"}),
        get("no name", "registered-models/get"),
        get("empty name", "registered-models/get", "name="),
        get("two names", "registered-models/get", "name=$dialogue&name=nobody"),
        get("other parameters", "registered-models/get", {"name": "$dialogue", "x": "1"}),
        *(
            get(f"bad name: {label}", "registered-models/get", {"name": name})
            for label, name in BAD_NAMES.items()
            if isinstance(name, str) and name and "\x00" not in name
        ),
        post("by POST", "registered-models/get", {"name": "$dialogue"}),
    ),
)

UPDATE = Dialogue(
    "change a registered model",
    (
        model(description="old", tags=[{"key": "a", "value": "b"}]),
        version(),
        patch("describe", "registered-models/update", {"name": "$dialogue", "description": "new"}),
        shown("described"),
        patch("no description", "registered-models/update", {"name": "$dialogue"}),
        shown("description gone"),
        patch("null", "registered-models/update", {"name": "$dialogue", "description": None}),
        patch("number", "registered-models/update", {"name": "$dialogue", "description": 1}),
        patch("long", "registered-models/update", {"name": "$dialogue", "description": "d" * 5001}),
        patch("job", "registered-models/update", {"name": "$dialogue", "deployment_job_id": "1"}),
        patch("unknown", "registered-models/update", {"name": "nobody", "description": "x"}),
        patch("no name", "registered-models/update", {"description": "x"}),
        patch("no body", "registered-models/update"),
        patch(
            "text as content type",
            "registered-models/update",
            {"name": "$dialogue", "description": "typed"},
            headers={"Content-Type": "text/plain"},
        ),
        patch("bad name", "registered-models/update", {"name": "a/b", "description": "x"}),
        patch("in the query", "registered-models/update", query={"name": "$dialogue"}),
        post(
            "rename", "registered-models/rename", {"name": "$dialogue", "new_name": "$dialogue 2"}
        ),
        shown("old name"),
        shown("new name", "$dialogue 2"),
        get("its version", "model-versions/get", {"name": "$dialogue 2", "version": "1"}),
        post(
            "rename to itself",
            "registered-models/rename",
            {"name": "$dialogue 2", "new_name": "$dialogue 2"},
        ),
        model("another", "$dialogue 3"),
        post(
            "rename to a taken name",
            "registered-models/rename",
            {"name": "$dialogue 2", "new_name": "$dialogue 3"},
        ),
        shown("still there", "$dialogue 2"),
        post("rename unknown", "registered-models/rename", {"name": "nobody", "new_name": "x"}),
        post("rename without new name", "registered-models/rename", {"name": "$dialogue 2"}),
        post("rename without name", "registered-models/rename", {"new_name": "x"}),
        *(
            post(
                f"rename to bad name: {label}",
                "registered-models/rename",
                {"name": "$dialogue 3", "new_name": name},
            )
            for label, name in BAD_NAMES.items()
        ),
        delete("delete", "registered-models/delete", {"name": "$dialogue 2"}),
        shown("deleted", "$dialogue 2"),
        get("its version is gone", "model-versions/get", {"name": "$dialogue 2", "version": "1"}),
        delete("delete again", "registered-models/delete", {"name": "$dialogue 2"}),
        model("the name again", "$dialogue 2"),
        shown("without its tags", "$dialogue 2"),
        version("numbers begin again", "$dialogue 2"),
        delete("delete without name", "registered-models/delete", {}),
        delete("delete without body", "registered-models/delete"),
        delete("delete by query", "registered-models/delete", query={"name": "$dialogue 2"}),
        delete("delete bad name", "registered-models/delete", {"name": "a/b"}),
    ),
)


def set_tag(label: str, **fields: Any) -> Ask:
    """Set a tag of the model."""
    return post(label, "registered-models/set-tag", {"name": "$dialogue"} | fields)


def delete_tag(label: str, **fields: Any) -> Ask:
    """Delete a tag of the model."""
    return delete(label, "registered-models/delete-tag", {"name": "$dialogue"} | fields)


TAGS = Dialogue(
    "tags of a registered model",
    (
        model(),
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
        set_tag("value of 5000", key="v5000", value="v" * 5000),
        set_tag("value of 100001", key="v100001", value="v" * 100_001),
        set_tag("bad characters", key="a?b", value="v"),
        set_tag("climbing", key="../a", value="v"),
        set_tag("dot", key=".", value="v"),
        set_tag("no key", value="v"),
        set_tag("empty key", key="", value="v"),
        set_tag("unknown model", name="nobody", key="k", value="v"),
        set_tag("bad model", name="a:b", key="k", value="v"),
        set_tag("bad model and bad key", name="a:b", key="a?b", value="v"),
        set_tag("no model", name=None, key="k", value="v"),
        shown("tags"),
        delete_tag("delete", key="k"),
        delete_tag("delete again", key="k"),
        delete_tag("delete without key"),
        delete_tag("delete empty key", key=""),
        delete_tag("delete bad key", key="a?b"),
        delete_tag("delete long key", key="k" * 251),
        delete_tag("delete of unknown model", name="nobody", key="a"),
        delete_tag("delete of bad model", name="a/b", key="a"),
        shown("tags left"),
    ),
)
LONG_TAG = Dialogue(
    "long tag of a registered model",
    (
        model(),
        set_tag("value of 5001", key="v5001", value="v" * 5001),
        set_tag("value of 100000", key="v100000", value="v" * 100_000),
    ),
    databases=("postgres",),
)


def set_alias(label: str, **fields: Any) -> Ask:
    """Set an alias of the model."""
    return post(label, "registered-models/alias", {"name": "$dialogue"} | fields)


def by_alias(label: str, alias: str, name: str = "$dialogue") -> Ask:
    """Get a version by alias."""
    return get(
        label,
        "registered-models/alias",
        {"name": name, "alias": alias},
        unordered=("aliases", "tags"),
    )


def drop_alias(label: str, **fields: Any) -> Ask:
    """Delete an alias of the model."""
    return delete(label, "registered-models/alias", {"name": "$dialogue"} | fields)


BAD_ALIASES: dict[str, Any] = {
    "latest": "latest",
    "LATEST": "LATEST",
    "v1": "v1",
    "V22": "V22",
    "dot": "a.b",
    "space": "a b",
    "slash": "a/b",
    "256 characters": "a" * 256,
    "empty": "",
    "null": None,
    "number": 1,
}
ALIASES = Dialogue(
    "aliases",
    (
        model(),
        by_alias("latest without versions", "latest"),
        version("version 1", tags=[{"key": "a", "value": "b"}]),
        version("version 2"),
        version("version 3"),
        set_alias("set", alias="champion", version="1"),
        set_alias("second", alias="challenger", version="1"),
        set_alias("move", alias="challenger", version="2"),
        set_alias("upper case is another", alias="Champion", version="2"),
        set_alias("255 characters", alias="a" * 255, version="3"),
        set_alias("unicode", alias="é実", version="3"),
        set_alias("version-like", alias="v1x", version="3"),
        set_alias("dashes", alias="-_-", version="3"),
        set_alias("number with spaces", alias="spaces", version=" 3 "),
        set_alias("number with underscore", alias="underscore", version="1_0"),
        shown("aliases"),
        by_alias("get champion", "champion"),
        by_alias("get challenger", "challenger"),
        by_alias("get Champion", "Champion"),
        by_alias("get latest", "latest"),
        by_alias("get LATEST", "LATEST"),
        by_alias("get unknown alias", "nobody"),
        by_alias("get version-like", "v1"),
        by_alias("get bad alias", "a.b"),
        by_alias("get of unknown model", "champion", "nobody"),
        by_alias("latest of unknown model", "latest", "nobody"),
        by_alias("get of bad model", "champion", "a/b"),
        get("get without alias", "registered-models/alias", {"name": "$dialogue"}),
        get("get without name", "registered-models/alias", {"alias": "champion"}),
        get(
            "the version",
            "model-versions/get",
            {"name": "$dialogue", "version": "2"},
            unordered=("aliases",),
        ),
        set_alias("unknown version", alias="x", version="99"),
        set_alias("huge version", alias="x", version="99999999999999999999"),
        set_alias("version 2**31", alias="x", version="2147483648"),
        set_alias("negative version", alias="x", version="-1"),
        set_alias("text as version", alias="x", version="abc"),
        set_alias("number as version", alias="x", version=1),
        set_alias("no version", alias="x"),
        set_alias("empty version", alias="x", version=""),
        set_alias("unknown model", name="nobody", alias="x", version="1"),
        set_alias("bad model", name="a/b", alias="x", version="1"),
        *(
            set_alias(f"bad alias: {label}", alias=a, version="1")
            for label, a in BAD_ALIASES.items()
        ),
        drop_alias("delete", alias="champion"),
        drop_alias("delete again", alias="champion"),
        drop_alias("delete latest", alias="latest"),
        drop_alias("delete bad alias", alias="a.b"),
        drop_alias("delete without alias"),
        drop_alias("delete of unknown model", name="nobody", alias="champion"),
        by_alias("get deleted alias", "champion"),
        delete("delete version 2", "model-versions/delete", {"name": "$dialogue", "version": "2"}),
        by_alias("alias of deleted version", "challenger"),
        shown("aliases left"),
        set_alias("alias to deleted version", alias="x", version="2"),
        stage("stage of 1", 1, "Production"),
        by_alias("latest is the highest number", "latest"),
    ),
)


def latest(label: str, *stages: str, name: str = "$dialogue") -> Ask:
    """Get latest versions by POST."""
    body = {"name": name, "stages": list(stages)} if stages else {"name": name}
    return post(
        label,
        "registered-models/get-latest-versions",
        body,
        unordered=("model_versions", "aliases"),
    )


LATEST = Dialogue(
    "latest versions",
    (
        model(),
        latest("without versions"),
        *(version(f"version {n}", description=f"number {n}") for n in range(1, 8)),
        latest("all in one stage"),
        stage("2 to staging", 2, "Staging"),
        stage("3 to Production", 3, "production"),
        stage("5 to STAGING", 5, "STAGING"),
        stage("6 to archived", 6, "archived"),
        post(
            "alias", "registered-models/alias", {"name": "$dialogue", "alias": "a", "version": "5"}
        ),
        latest("all stages"),
        shown("in the model"),
        latest("one stage", "Staging"),
        latest("two stages", "staging", "PRODUCTION"),
        latest("the same stage twice", "Staging", "staging"),
        latest("None", "None"),
        latest("unknown stage", "bogus"),
        latest("deleted", "Deleted_Internal"),
        latest("empty stage", ""),
        latest("unknown model", name="nobody"),
        latest("unknown model and stage", "bogus", name="nobody"),
        latest("bad model", name="a/b"),
        post(
            "stages as text",
            "registered-models/get-latest-versions",
            {"name": "$dialogue", "stages": "Staging"},
        ),
        post(
            "stages as numbers",
            "registered-models/get-latest-versions",
            {"name": "$dialogue", "stages": [1]},
        ),
        post("no name", "registered-models/get-latest-versions", {}),
        get(
            "by GET",
            "registered-models/get-latest-versions",
            "name=$dialogue",
            unordered=("model_versions",),
        ),
        get(
            "by GET with a stage",
            "registered-models/get-latest-versions",
            "name=$dialogue&stages=Staging",
        ),
        get(
            "by GET with stages",
            "registered-models/get-latest-versions",
            "name=$dialogue&stages=Staging&stages=None",
            unordered=("model_versions",),
        ),
        delete("delete 5", "model-versions/delete", {"name": "$dialogue", "version": "5"}),
        delete("delete 7", "model-versions/delete", {"name": "$dialogue", "version": "7"}),
        latest("after deleting"),
        shown("in the model after deleting"),
        stage("2 back to None", 2, "None"),
        latest("no staging left"),
    ),
)

DIALOGUES = (CREATE, GET, UPDATE, TAGS, LONG_TAG, ALIASES, LATEST)
