"""The tests' PostgreSQL runs, and each test has a new database."""

import asyncpg


async def test_each_test_has_a_database_of_its_own(
    postgres_uri: str, postgres_empty_uri: str
) -> None:
    assert postgres_uri != postgres_empty_uri
    connection = await asyncpg.connect(postgres_uri)
    try:
        assert await connection.fetchval("SELECT 1") == 1
        assert await connection.fetchval("SELECT lower('É')") == "é"
    finally:
        await connection.close()


async def test_the_template_holds_the_default_experiment(postgres_uri: str) -> None:
    connection = await asyncpg.connect(postgres_uri)
    try:
        row = await connection.fetchrow("SELECT experiment_id, name FROM experiments")
    finally:
        await connection.close()
    assert row is not None and tuple(row) == (0, "Default")
