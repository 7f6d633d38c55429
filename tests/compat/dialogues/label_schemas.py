"""Label schemas: creation with each kind of input, the default schema, changes, deletion."""

from __future__ import annotations

from typing import Any

from tests.compat.dialogue import Ask, Dialogue, delete, experiment, get, patch, post

SCHEMAS = "/api/3.0/mlflow/label-schemas"


def create(label: str, given: Any = None, *, keep: str = "", **fields: Any) -> Ask:
    """Create a schema of `$exp`, with this input."""
    body = {"experiment_id": "$exp", "name": label, "type": "FEEDBACK", "input": given} | fields
    kept = {keep: "label_schema.schema_id"} if keep else {}
    return post(label, f"{SCHEMAS}/create", body, keep=kept, pause_ms=3)


def update(label: str, **fields: Any) -> Ask:
    """Change `$schema`."""
    return patch(label, f"{SCHEMAS}/update", {"schema_id": "$schema"} | fields)


def show(label: str, schema: str = "$schema") -> Ask:
    """A schema as it is now."""
    return get(label, f"{SCHEMAS}/get", {"schema_id": schema})


def listed(label: str, **query: Any) -> Ask:
    """The schemas of `$exp`."""
    return get(label, f"{SCHEMAS}/list", {"experiment_id": "$exp"} | query)


INPUTS = Dialogue(
    "label schemas: kinds of input",
    (
        experiment(),
        create("pass or fail", {"pass_fail": {"positive_label": "y", "negative_label": "n"}}),
        create("equal labels", {"pass_fail": {"positive_label": "y", "negative_label": "y"}}),
        create("a label missing", {"pass_fail": {"positive_label": "y"}}),
        create("no labels", {"pass_fail": {}}),
        create("a long label", {"pass_fail": {"positive_label": "y" * 65, "negative_label": "n"}}),
        create("options", {"categorical": {"options": ["a", "b"]}}),
        create("several options", {"categorical": {"options": ["a"], "multi_select": True}}),
        create("no options", {"categorical": {}}),
        create("an option twice", {"categorical": {"options": ["a", "a"]}}),
        create("an empty option", {"categorical": {"options": [""]}}),
        create("a long option", {"categorical": {"options": ["a" * 65]}}),
        create("many options", {"categorical": {"options": list("abcdefghijk")}}),
        create("a number", {"numeric": {}}),
        create("a number with bounds", {"numeric": {"min_value": -1, "max_value": 0.5}}),
        create("one bound", {"numeric": {"max_value": 3}}),
        create("equal bounds", {"numeric": {"min_value": 1, "max_value": 1}}),
        create("a text", {"text": {}}, type="EXPECTATION"),
        create("a text with a length", {"text": {"max_length": 10}}),
        create("a length of zero", {"text": {"max_length": 0}}),
        create("no input"),
        create("an empty input", {}),
        create("camel case", {"passFail": {"positiveLabel": "y", "negativeLabel": "n"}}),
        create("no type", {"text": {}}, type=None),
        create("the unspecified type", {"text": {}}, type="LABEL_SCHEMA_TYPE_UNSPECIFIED"),
        create("a type by number", {"text": {}}, type=2),
        create("a long instruction", {"text": {}}, instruction="i" * 1001),
        create("an empty instruction", {"text": {}}, instruction="", enable_comment=True),
        create("n" * 251, {"text": {}}),
        create("the reserved name", {"text": {}}, name=" feedback "),
        create("an empty name", {"text": {}}, name=""),
        create("no experiment", {"text": {}}, experiment_id=None),
        create("an unknown experiment", {"text": {}}, experiment_id="999999"),
        create("an experiment that is no number", {"text": {}}, experiment_id="x"),
        create("the same name", {"text": {}}, name="a text"),
        listed("all of them"),
    ),
)

LIFE = Dialogue(
    "label schemas",
    (
        experiment(),
        listed("the first list creates the default"),
        listed("the second does not"),
        create("ok", {"pass_fail": {"positive_label": "y", "negative_label": "n"}}, keep="schema"),
        create("cat", {"categorical": {"options": ["a", "b"]}}, keep="cat"),
        show("it"),
        show("an unknown one", "ls-nope"),
        get("no id", f"{SCHEMAS}/get"),
        get("by name", f"{SCHEMAS}/get-by-name", {"experiment_id": "$exp", "name": "ok"}),
        get("by another name", f"{SCHEMAS}/get-by-name", {"experiment_id": "$exp", "name": "OK"}),
        get("without a name", f"{SCHEMAS}/get-by-name", {"experiment_id": "$exp"}),
        get("elsewhere", f"{SCHEMAS}/get-by-name", {"experiment_id": "999999", "name": "ok"}),
        update("another name", name="ok2"),
        update("its own name", name="ok2"),
        update("a taken name", name="cat"),
        update("the reserved name", name="FEEDBACK"),
        update("an empty name", name=""),
        update("an instruction", instruction="j"),
        update("an empty instruction", instruction=""),
        update("a long instruction", instruction="j" * 1001),
        update("comments", enable_comment=True),
        update("other labels", input={"pass_fail": {"positive_label": "a", "negative_label": "b"}}),
        update("wrong labels", input={"pass_fail": {"positive_label": "a"}}),
        update("another kind", input={"text": {}}),
        update("an empty input", input={}),
        update("nothing"),
        patch("another choice", f"{SCHEMAS}/update",
              {"schema_id": "$cat", "input": {"categorical": {"options": ["a"], "multi_select": True}}}),
        patch("fewer options", f"{SCHEMAS}/update",
              {"schema_id": "$cat", "input": {"categorical": {"options": ["a"]}}}),
        patch("an unknown schema", f"{SCHEMAS}/update", {"schema_id": "ls-nope", "name": "x"}),
        patch("no schema", f"{SCHEMAS}/update", {"name": "x"}),
        show("after the changes"),
        listed("page 1", max_results=2),
        listed("page 2", max_results=2, page_token="eyJvZmZzZXQiOiAyfQ=="),
        listed("an empty token", page_token=""),
        listed("a wrong token", page_token="zz"),
        listed("zero", max_results=0),
        listed("too many", max_results=50001),
        listed("many", max_results=50000),
        get("of an unknown experiment", f"{SCHEMAS}/list", {"experiment_id": "999999"}),
        get("of no experiment", f"{SCHEMAS}/list"),
        get("the default", f"{SCHEMAS}/get-by-name", {"experiment_id": "$exp", "name": "Feedback"},
            keep={"default": "label_schema.schema_id"}),
        patch("change the default", f"{SCHEMAS}/update", {"schema_id": "$default", "instruction": "x"}),
        delete("delete the default", f"{SCHEMAS}/delete", {"schema_id": "$default"}),
        delete("delete it", f"{SCHEMAS}/delete", {"schema_id": "$schema"}),
        delete("delete it again", f"{SCHEMAS}/delete", {"schema_id": "$schema"}),
        delete("delete nothing", f"{SCHEMAS}/delete", {}),
        listed("what is left"),
        post("delete the experiment", "experiments/delete", {"experiment_id": "$exp"}),
        listed("of a deleted experiment"),
        create("in a deleted experiment", {"text": {}}),
        show("one in a deleted experiment", "$cat"),
    ),
)  # fmt: skip

DIALOGUES = (INPUTS, LIFE)
