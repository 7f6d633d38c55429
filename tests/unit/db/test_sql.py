"""Tokens and `Bulk` become the words of each database."""

from __future__ import annotations

from string import Formatter

import pytest

from headrace.db.sql import POSTGRES, SQLITE, Bulk, Replace, Sql


def test_every_database_has_words_for_the_same_tokens() -> None:
    assert POSTGRES.keys() == SQLITE.keys()


@pytest.mark.parametrize("words", [POSTGRES, SQLITE])
def test_an_expansion_takes_no_more_arguments_than_its_token(words: dict[str, str]) -> None:
    for token, expansion in words.items():
        arguments = [field for _, field, _, _ in Formatter().parse(expansion) if field is not None]
        assert len(arguments) <= token.count("{}"), token


def test_tokens_are_expanded() -> None:
    sql = Sql("SELECT {bytes t.key} FROM tags t WHERE id {in $1 int} AND name = $2 {for update}")
    assert sql.postgres == (
        "SELECT octet_length(t.key) FROM tags t WHERE id = ANY($1::int[]) AND name = $2"
        " FOR NO KEY UPDATE"
    )
    assert sql.sqlite == (
        "SELECT length(CAST(t.key AS BLOB)) FROM tags t WHERE id IN (SELECT value FROM json_each(?1))"
        " AND name = ?2 "
    )


def test_a_statement_is_that_of_a_workspace() -> None:
    """Without workspaces, only `{workspace}` names the column: older tables lack it."""
    sql = Sql("SELECT 1 FROM t WHERE {in workspace}a = {workspace} AND {in workspace t}b = $1")
    assert sql.sqlite == "SELECT 1 FROM t WHERE a = 'default' AND b = ?1"
    assert sql.scoped("team-a").sqlite == (
        "SELECT 1 FROM t WHERE workspace = 'team-a' AND a = 'team-a' AND t.workspace = 'team-a' AND b = ?1"
    )
    assert sql.scoped("team-a") is sql.scoped("team-a")
    bulk = Bulk("t", in_workspace=True, a="text")
    assert bulk.sqlite == "INSERT INTO t (a) VALUES (?1)"
    scoped = bulk.scoped("default")
    assert scoped.sqlite == "INSERT INTO t (a, workspace) VALUES (?1, 'default')"
    assert scoped.postgres == (
        "INSERT INTO t (a, workspace) SELECT *, 'default' FROM unnest($1::varchar[])"
    )
    plain = Sql("SELECT 1")
    assert plain.scoped("team-a") is plain


@pytest.mark.parametrize("name", ["a'b", "", "A", "a", "x" * 64, "-a", "a-", "api", "a\n"])
def test_a_text_takes_no_name_that_is_none(name: str) -> None:
    with pytest.raises(AssertionError):
        Sql("SELECT {workspace}").scoped(name)


def test_an_unknown_token_is_an_error() -> None:
    with pytest.raises(LookupError, match="for upset"):
        Sql("SELECT 1 {for upset}")


def test_a_database_without_the_statement_cannot_be_asked_for_it() -> None:
    only = Sql(postgres="LOCK TABLE runs")
    assert only.postgres == "LOCK TABLE runs"
    with pytest.raises(AttributeError, match="sqlite"):
        only.sqlite  # noqa: B018 # asking is the test


def test_an_insert_is_written_from_facts() -> None:
    bulk = Bulk("tags", key="text", run_uuid="text", n="bigint", fixed={"kind": "'x'"})
    assert bulk.postgres == (
        "INSERT INTO tags (key, run_uuid, n, kind)"
        " SELECT *, 'x' FROM unnest($1::varchar[], $2::varchar[], $3::bigint[])"
    )
    assert bulk.sqlite == "INSERT INTO tags (key, run_uuid, n, kind) VALUES (?1, ?2, ?3, 'x')"
    assert (bulk.table, bulk.columns) == ("tags", ("key", "run_uuid", "n"))


def test_rows_that_are_there_are_replaced_or_kept() -> None:
    kept = Bulk("t", a="text", on_conflict="ignore")
    assert kept.sqlite.endswith("VALUES (?1) ON CONFLICT DO NOTHING")
    replaced = Bulk("t", a="text", b="int", on_conflict=Replace("a"))
    assert replaced.clause == " ON CONFLICT (a) DO UPDATE SET b = EXCLUDED.b"
    greater = Bulk("t", a="text", b="int", c="int", on_conflict=Replace("a", if_greater=("b", "c")))
    assert greater.clause == (
        " ON CONFLICT (a) DO UPDATE SET b = EXCLUDED.b, c = EXCLUDED.c"
        " WHERE (EXCLUDED.b, EXCLUDED.c) > (t.b, t.c)"
    )
