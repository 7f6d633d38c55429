"""The catalogue of models: which files and models count, and what the source of mlflow states."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from headrace.api.gateway.catalogue.files import Catalogue, allowed

if TYPE_CHECKING:
    from pathlib import Path

CHAT = {"mode": "chat", "pricing": {"input_per_million_tokens": 2.5}}


def package(directory: Path, **files: Any) -> Path:
    """A directory with the files that the mlflow package has."""
    made = directory / "mlflow"
    catalogue = made / "utils" / "model_catalog"
    catalogue.mkdir(parents=True)
    for name, models in files.items():
        write(catalogue, name, models)
    return made


def write(directory: Path, name: str, models: Any) -> None:
    """A file of the catalogue."""
    (directory / f"{name}.json").write_text(json.dumps({"schema_version": "1", "models": models}))


def names(catalogue: Catalogue, provider: str | None = None) -> list[tuple[str, str]]:
    """Provider and name of each model."""
    found = json.loads(catalogue.models(provider))
    return [(one["provider"], one["model"]) for one in found]


def test_models_that_the_gateway_cannot_use_are_left_out(tmp_path: Path) -> None:
    models = {
        "a": CHAT,
        "openai/a": CHAT,
        "openai/b": {"mode": "embedding"},
        "ft:c": CHAT,
        "d": {"mode": "image_generation"},
        "e": {},
    }
    catalogue = Catalogue(
        package(tmp_path, openai=models, bedrock_converse={"x": CHAT}), None, None
    )
    assert names(catalogue) == [("openai", "a"), ("openai", "b"), ("openai", "e")]
    assert catalogue.providers() == ["openai"]
    first = json.loads(catalogue.models(None))[0]
    assert first["input_cost_per_token"] == 2.5 / 1_000_000
    assert first["output_cost_per_token"] is None


def test_one_provider_may_have_several_files(tmp_path: Path) -> None:
    files = {
        "vertex_ai": {"a": CHAT},
        "vertex_ai-x": {"a": {}, "vertex_ai/b": CHAT},
        "z": {"a": {}},
    }
    catalogue = Catalogue(package(tmp_path, **files), None, None)
    assert names(catalogue, "vertex_ai") == [("vertex_ai", "a"), ("vertex_ai", "b")]
    assert names(catalogue, "vertex_ai-x") == []
    assert catalogue.providers() == ["vertex_ai", "z"]


def test_an_own_file_replaces_that_of_the_package(tmp_path: Path) -> None:
    """If it is a catalogue with models; and a change of it counts at once."""
    own = tmp_path / "own"
    own.mkdir()
    write(own, "a", {"mine": CHAT})
    write(own, "empty", {})
    write(own, "unknown", {"x": CHAT})
    (own / "broken.json").write_text("no JSON")
    files = {key: {"theirs": CHAT} for key in ("a", "broken", "empty")}
    catalogue = Catalogue(package(tmp_path, **files), own, None)
    assert names(catalogue) == [("a", "mine"), ("broken", "theirs"), ("empty", "theirs")]
    write(own, "a", {"mine": CHAT, "new": CHAT})
    assert names(catalogue, "a") == [("a", "mine"), ("a", "new")]
    write(own, "a", {"picture": {"mode": "image_generation"}})
    assert names(catalogue, "a") == []


def test_only_allowed_providers_are_listed(tmp_path: Path) -> None:
    files = {key: {"m": CHAT} for key in ("openai", "bedrock", "azure")}
    only = allowed(" OpenAI, amazon-bedrock ,, ")
    catalogue = Catalogue(package(tmp_path, **files), None, only)
    assert catalogue.providers() == ["bedrock", "openai"]
    assert names(catalogue) == [("bedrock", "m"), ("openai", "m")]
    assert names(catalogue, "azure") == []
    assert allowed("") is allowed(None) is allowed(" , ") is None


@pytest.mark.parametrize(
    "source",
    [
        "",
        "_PROVIDER_AUTH_MODES: dict = make()",
        "_PROVIDER_AUTH_MODES: dict = {'a': 1}",
        "_PROVIDER_AUTH_MODES: dict = {'a': {'key': {'display_name': 'd'}}}",
        "no Python (",
    ],
)
def test_a_source_in_another_form_is_not_understood(tmp_path: Path, source: str) -> None:
    made = package(tmp_path)
    (made / "utils" / "providers.py").write_text(source)
    assert Catalogue(made, None, None).auth_modes("a") is None


def test_a_source_is_read_and_not_run(tmp_path: Path) -> None:
    made = package(tmp_path)
    modes = {"key": {"display_name": "d", "description": "e", "fields": [{"name": "k"}]}}
    source = f"raise SystemExit\n_PROVIDER_AUTH_MODES: dict = {{'a': {modes}}}\n"
    (made / "utils" / "providers.py").write_text(source)
    catalogue = Catalogue(made, None, None)
    stated = catalogue.auth_modes("a")
    assert stated is not None
    assert [field.name for field in stated["key"].fields] == ["k"]
    assert catalogue.auth_modes("b") == {}
