"""runs/log-parameter, runs/set-tag, runs/delete-tag: keys, values, truncation, conflicts."""

from __future__ import annotations

from tests.compat.dialogue import Ask, Dialogue, experiment, get, post, run

KEYS = {
    "letters": "abc",
    "250": "k" * 250,
    "251": "k" * 251,
    "slash": "a/b",
    "colon": "a:b",
    "dash dot space": "a-b.c d",
    "unicode": "größe",
    "cjk": "学習率",
    "emoji": "🚀",
    "combining": "e\u0301",
    "question": "a?b",
    "hash": "a#b",
    "newline": "a\nb",
    "double slash": "a//b",
    "dot": ".",
    "two dots": "..",
    "climbing": "../a",
    "absolute": "/a",
    "two slashes in front": "//a",
    "trailing": "a/",
    "dot in the middle": "a/./b",
    "space": " ",
    "quote": "a'b",
    "empty": "",
    "null": None,
    "number": 5,
    "list": ["a"],
    "object": {"a": 1},
}
VALUES = {
    "text": "v",
    "empty": "",
    "spaces": "  ",
    "unicode": "значение 🚀",
    "newlines": "a\nb\r\nc",
    "quotes": "'\"\\",
    "markup": "<b>&amp;</b>",
    "NUL escaped": "a\\u0000b",
    "number": 5,
    "float": 1.5,
    "true": True,
    "list": [],
    "object": {},
    "null": None,
}


def write(path: str, label: str, **fields: object) -> Ask:
    return post(label, path, {"run_id": "$run"} | fields)


def look(label: str) -> Ask:
    return get(label, "runs/get", {"run_id": "$run"}, unordered=("tags", "params"))


def keys_and_values(name: str, path: str) -> Dialogue:
    """Every valid and invalid key and value through one endpoint."""
    return Dialogue(
        name,
        (
            experiment(),
            run(),
            *(write(path, f"key {label}", key=key, value="v") for label, key in KEYS.items()),
            *(write(path, f"value {label}", key=f"v {label}", value=value) for label, value in VALUES.items()),
            write(path, "no key", value="v"),
            write(path, "no value", key="absent"),
            write(path, "unknown field", key="unknown", value="v", zzz=1),
            write(path, "no run", run_id=None, key="a", value="v"),
            write(path, "unknown run", run_id="nope", key="a", value="v"),
            write(path, "unknown run, bad key", run_id="nope", key="a?b", value="v"),
            write(path, "run by number", run_id=5, key="a", value="v"),
            write(path, "by run_uuid", run_id=None, run_uuid="$run", key="uuid", value="v"),
            write(path, "by runUuid", run_id=None, runUuid="$run", key="uuid2", value="v"),
            write(path, "by runId", run_id=None, runId="$run", key="uuid3", value="v"),
            write(path, "both", run_uuid="nope", key="uuid4", value="v"),
            write(path, "both spellings", runId="$run", key="uuid5", value="v"),
            look("what is there"),
        ),
    )  # fmt: skip


PARAM = "runs/log-parameter"
TAG = "runs/set-tag"

PARAM_RULES = Dialogue(
    "params do not change",
    (
        experiment(),
        run(),
        write(PARAM, "first", key="lr", value="0.1"),
        write(PARAM, "again", key="lr", value="0.1"),
        write(PARAM, "changed", key="lr", value="0.2"),
        write(PARAM, "changed to empty", key="lr", value=""),
        write(PARAM, "changed with quotes", key="lr", value='it\'s "x"'),
        write(PARAM, "empty", key="e", value=""),
        write(PARAM, "empty again", key="e"),
        write(PARAM, "empty changed", key="e", value="x"),
        write(PARAM, "value of 6000", key="long", value="x" * 6000),
        write(PARAM, "value of 6001, same beginning", key="long", value="x" * 6001),
        write(PARAM, "value of 7000", key="longer", value="y" * 7000),
        write(PARAM, "value of 7000 again", key="longer", value="y" * 7000),
        write(PARAM, "value of 6000 after 7000", key="longer", value="y" * 6000),
        write(PARAM, "value of 5999 after 7000", key="longer", value="y" * 5999),
        write(PARAM, "emoji of 6001", key="emoji", value="🚀" * 6001),
        write(PARAM, "emoji again", key="emoji", value="🚀" * 6001),
        write(PARAM, "another case of the key", key="LR", value="0.3"),
        write(PARAM, "another key", key="b", value="1"),
        look("params"),
    ),
)

TAG_RULES = Dialogue(
    "tags overwrite and go",
    (
        experiment(),
        run(),
        write(TAG, "first", key="t", value="1"),
        write(TAG, "overwrite", key="t", value="2"),
        write(TAG, "value of 8000", key="l", value="x" * 8000),
        write(TAG, "value of 8001", key="l", value="y" * 8001),
        write(TAG, "emoji of 8001", key="emoji", value="🚀" * 8001),
        write(TAG, "reserved", key="mlflow.source.name", value="x"),
        look("tags"),
        write("runs/delete-tag", "delete", key="t"),
        write("runs/delete-tag", "delete again", key="t"),
        write("runs/delete-tag", "delete without key"),
        write("runs/delete-tag", "delete empty key", key=""),
        write("runs/delete-tag", "delete number", key=5),
        write("runs/delete-tag", "delete bad key", key="a?b"),
        write("runs/delete-tag", "delete long key", key="k" * 251),
        write("runs/delete-tag", "delete in unknown run", run_id="nope", key="l"),
        write("runs/delete-tag", "delete without run", run_id=None, key="l"),
        write("runs/delete-tag", "delete by run_uuid", run_id=None, run_uuid="$run", key="l"),
        look("tags left"),
    ),
)

DIALOGUES = (
    keys_and_values("param keys and values", PARAM),
    keys_and_values("tag keys and values", TAG),
    PARAM_RULES,
    TAG_RULES,
)
