"""Database URIs: every form that SQLAlchemy accepts, and a clear message for every other."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from headrace.db.uri import UriError, hosts_in_query, parse


def arguments(uri: str) -> dict[str, Any]:
    target = parse(uri)
    assert target.dialect == "postgres"
    return {name: value for name, value in target.connect_args.items() if name != "server_settings"}


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:///mlflow.db", Path.cwd() / "mlflow.db"),
        ("sqlite:///a/b.db", Path.cwd() / "a" / "b.db"),
        ("sqlite:////var/lib/ml flow.db", Path("/var/lib/ml flow.db")),
        ("sqlite+pysqlite:////x.db?timeout=30", Path("/x.db")),
        ("SQLite:////x.db", Path("/x.db")),
        ("sqlite:////no%20such.db", Path("/no such.db")),
    ],
)
def test_sqlite_files(uri: str, path: Path) -> None:
    target = parse(uri)
    assert (target.dialect, target.path) == ("sqlite", str(path))


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ("", None),
        ("statement_cache_size=0", 0),
        ("prepared_statement_cache_size=0", 0),
        ("statement_cache_size=40&prepared_statement_cache_size=60", 40),
        ("prepare_threshold=None", 0),
        ("prepare_threshold=", 0),
        ("prepare_threshold=0", None),
        ("prepare_threshold=5", None),
        ("prepare_threshold=None&statement_cache_size=100", 0),
    ],
)
def test_the_drivers_names_for_prepared_statements(options: str, most: int | None) -> None:
    target = parse(f"postgresql://db/ml?{options}")
    assert target.max_statements == most
    assert "statement" not in str(target.connect_args)


def test_a_number_of_prepared_statements_is_a_number() -> None:
    with pytest.raises(UriError, match="statement_cache_size is not a number"):
        parse("postgresql://db/ml?statement_cache_size=many")


def test_an_sqlite_file_whose_name_has_a_percent_sign_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a%20b.db"
    path.touch()
    assert parse(f"sqlite:///{path}").path == str(path)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("postgresql://", {}),
        ("postgres://db/ml", {"host": ["db"], "port": [5432], "database": "ml"}),
        (
            "postgresql+psycopg2://me:p%40ss%2Fw%25@db:5433/ml",
            {"host": ["db"], "port": [5433], "user": "me", "password": "p@ss/w%", "database": "ml"},
        ),
        ("postgresql+psycopg://me@/ml", {"user": "me", "database": "ml"}),
        ("postgresql://me:a/b:c@db/ml", {"password": "a/b:c"}),
        ("postgresql://[::1]:5433/ml", {"host": ["::1"], "port": [5433]}),
        ("postgresql:///ml?host=/run/pg", {"host": ["/run/pg"], "port": [5432], "database": "ml"}),
        ("postgresql:///ml?host=/run/pg&port=5433", {"host": ["/run/pg"], "port": [5433]}),
        ("postgresql://%2Frun%2Fpg/ml", {"host": ["/run/pg"]}),
        ("postgresql://a:1,b:2/ml", {"host": ["a", "b"], "port": [1, 2]}),
        ("postgresql://a,b/ml", {"host": ["a", "b"], "port": [5432, 5432]}),
        ("postgresql:///ml?host=a:1&host=b:2", {"host": ["a", "b"], "port": [1, 2]}),
        ("postgresql:///ml?host=a,b&port=1,2", {"host": ["a", "b"], "port": [1, 2]}),
        ("postgresql:///ml?host=a,b&port=7", {"host": ["a", "b"], "port": [7, 7]}),
        (
            "postgresql://a,b/ml?target_session_attrs=any",
            {"host": ["a", "b"], "target_session_attrs": "any"},
        ),
        ("postgresql://db/x?dbname=ml&user=me&password=p", {"database": "ml", "password": "p"}),
        ("postgresql://db/ml?connect_timeout=10", {"timeout": 10.0}),
        ("postgresql://db/ml?connect_timeout=1", {"timeout": 2.0}),
        (
            "postgresql://db/ml?sslmode=verify-full&sslrootcert=/a%20b.crt",
            {"dsn": "postgresql://?sslmode=verify-full&sslrootcert=%2Fa+b.crt"},
        ),
        (
            "postgresql://db/ml?keepalives=1&keepalives_idle=30&client_encoding=utf8",
            {"host": ["db"]},
        ),
        ("postgresql://db/ml?channel_binding=prefer&gssencmode=disable", {"host": ["db"]}),
    ],
)
def test_postgres_arguments(uri: str, expected: dict[str, Any]) -> None:
    found = arguments(uri)
    assert {name: found.get(name) for name in expected} == expected
    if not expected:
        assert found == {}


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("postgresql://me@db/ml?sslmode=require", "postgresql://me@db/ml?sslmode=require"),
        (
            "postgresql://me:p%40s@a:1,b/ml?sslmode=require",
            "postgresql://me:p%40s@/ml?sslmode=require&host=a%2Cb&port=1%2C5432"
            "&target_session_attrs=read-write",
        ),
        (
            "postgresql+psycopg2:///ml?host=a:1&host=b:2&target_session_attrs=any",
            "postgresql+psycopg2:///ml?target_session_attrs=any&host=a%2Cb&port=1%2C2",
        ),
    ],
)
def test_several_hosts_for_sqlalchemy(
    uri: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SQLAlchemy passes them to libpq."""
    monkeypatch.delenv("PGTARGETSESSIONATTRS", raising=False)
    assert hosts_in_query(uri) == expected
    if expected.startswith("postgresql") and "host" in expected:
        url = make_url(expected.replace("+psycopg2", ""))
        _, options = url.get_dialect()().create_connect_args(url)
        hosts = parse(uri).connect_args
        assert options["host"].split(",") == hosts["host"]
        assert options["port"].split(",") == [str(port) for port in hosts["port"]]


def test_session_settings_reach_the_server() -> None:
    target = parse("postgresql://db/ml?options=-csearch_path%3Dmlops%20-c%20work_mem%3D64MB")
    assert target.connect_args["server_settings"] == {
        "application_name": "headrace",
        "options": "-csearch_path=mlops -c work_mem=64MB",
    }
    named = parse("postgresql://db/ml?application_name=team")
    assert named.connect_args["server_settings"] == {"application_name": "team"}


def test_the_systems_certificates_mean_full_verification() -> None:
    context = arguments("postgresql://db/ml?sslmode=verify-full&sslrootcert=system")["ssl"]
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite://mlflow.db", "sqlite:///relative.db"),
        ("sqlite:mlflow.db", "not the URI of a database"),
        ("sqlite+pysqlcipher:///x.db", "plain SQLite"),
        ("sqlite:///file:x.db", "without 'file:'"),
        ("sqlite:///file:x.db?uri=false", "without 'file:'"),
        ("sqlite:///x.db?uri=true", "file:PATH"),
        ("sqlite:///file://elsewhere/x.db?uri=true", "on this host"),
        ("sqlite:///file::memory:?uri=true", "file:PATH"),
        ("sqlite:///file:x.db?mode=memory&uri=true", "mode=memory"),
        ("sqlite:///file:x.db?mode=ro&uri=true", "mode=ro"),
        ("sqlite:///file:/nowhere/x.db?mode=rw&uri=true", "does not exist"),
        ("sqlite:///file:x.db?immutable=1&uri=true", "immutable"),
        ("sqlite:///file:x.db?vfs=unix-none&uri=true", "take vfs out"),
        ("mysql+pymysql://me:secret@db/ml", "does not serve mysql"),
        ("mssql+pyodbc://me:secret@db/ml", "does not serve mssql"),
        ("./mlruns", "file store"),
        ("/data/mlruns", "file store"),
        ("file:///data/mlruns", "file store"),
        ("C:\\mlruns", "file store"),
        ("http://me:secret@db", "not the URI of a database"),
        ("databricks://me:secret@x", "not the URI of a database"),
        ("postgresql://me:se@cret@db/ml", "%40"),
        ("postgresql://me:secret/ml", "HOST:PORT"),
        ("postgresql://db/ml?host=a,b&port=1,2,3&password=secret", "3 ports for 2 hosts"),
        ("postgresql://db/ml?target_session_attrs=writable", "target_session_attrs is one of any,"),
        ("postgresql://db/ml?connect_timeout=soon&password=secret", "connect_timeout"),
        ("postgresql://me:secret@db/ml?sslmod=require", "sslmod"),
        ("postgresql://me:secret@db/ml?channel_binding=require", "channel_binding"),
        ("postgresql://me:secret@db/ml?require_auth=scram-sha-256", "require_auth"),
    ],
)
def test_a_refusal_of_a_uri_does_not_show_its_password(uri: str, says: str) -> None:
    with pytest.raises(UriError) as caught:
        parse(uri)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value) and "cret@" not in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["postgresql://me:secret@db/ml", "postgresql://db/ml?user=me&password=secret"]
)
def test_a_target_never_shows_its_password(uri: str) -> None:
    target = parse(uri)
    assert "secret" not in target.shown and "secret" not in repr(target)
    assert target.connect_args["password"] == "secret"


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("sqlite:///file:/data/m.db?uri=true", "/data/m.db"),
        ("sqlite:///file:///data/m.db?mode=rwc&uri=true", "/data/m.db"),
        ("sqlite:///file://localhost/data/m.db?uri=1", "/data/m.db"),
        ("sqlite:///file:/data/a%20b.db?uri=True&cache=private", "/data/a b.db"),
        ("sqlite:///file:/data/m.db?nolock=1&uri=yes", "/data/m.db"),
    ],
)
def test_a_uri_of_sqlites_own_names_a_file(uri: str, path: str) -> None:
    target = parse(uri)
    assert (target.dialect, target.path) == ("sqlite", path)


def test_a_uri_of_sqlites_own_may_be_relative_and_its_other_options_are_noted() -> None:
    target = parse("sqlite:///file:m.db?nolock=1&cache=shared&uri=true")
    assert target.path == str(Path("m.db").absolute())
    assert target.notes == ("options of the URI without effect: nolock, cache",)
