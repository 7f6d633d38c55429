"""The AI gateway's secrets and model definitions, and the lists of what the mlflow package knows."""

from __future__ import annotations

from typing import Any

from tests.compat.dialogue import Ask, Dialogue, delete, get, post

GATEWAY = "/api/3.0/mlflow/gateway"
AJAX = "/ajax-api/3.0/mlflow/gateway"
SECRETS = f"{GATEWAY}/secrets"
DEFINITIONS = f"{GATEWAY}/model-definitions"
MAPS = ("masked_values", "auth_config")  # protobuf states no order of their names
VALUE = {"api_key": "sk-1234567890abcdef"}


def create(label: str, value: Any = VALUE, *, keep: str = "", **fields: Any) -> Ask:
    """Create a secret; its name is the label."""
    body = {"secret_name": f"$dialogue {label}", "secret_value": value, "provider": "openai"}
    kept = {keep: "secret.secret_id"} if keep else {}
    return post(label, f"{SECRETS}/create", body | fields, keep=kept, unordered=MAPS, pause_ms=3)


def update(label: str, **fields: Any) -> Ask:
    """Change `$secret`."""
    return post(label, f"{SECRETS}/update", {"secret_id": "$secret"} | fields, unordered=MAPS)


def show(label: str, secret: str = "$secret") -> Ask:
    """A secret as it is now."""
    return get(label, f"{SECRETS}/get", {"secret_id": secret}, unordered=MAPS)


def secrets(label: str, **query: Any) -> Ask:
    """The secrets of all dialogues; stock states no order."""
    return get(label, f"{SECRETS}/list", query, unordered=("secrets", *MAPS))


def config(label: str, **auth: Any) -> Ask:
    """Create a secret with a configuration."""
    return create(label, auth_config=auth)


def define(label: str, *, keep: str = "", **fields: Any) -> Ask:
    """Create a model definition; its name is the label."""
    body = {
        "name": f"$dialogue {label}",
        "secret_id": "$secret",
        "provider": "openai",
        "model_name": "gpt-4o",
    }
    kept = {keep: "model_definition.model_definition_id"} if keep else {}
    return post(label, f"{DEFINITIONS}/create", body | fields, keep=kept, pause_ms=3)


def redefine(label: str, **fields: Any) -> Ask:
    """Change `$definition`."""
    body = {"model_definition_id": "$definition"} | fields
    return post(label, f"{DEFINITIONS}/update", body)


def definition(label: str, id_: str = "$definition") -> Ask:
    """A model definition as it is now."""
    return get(label, f"{DEFINITIONS}/get", {"model_definition_id": id_})


def definitions(label: str, **query: Any) -> Ask:
    """The model definitions of all dialogues."""
    return get(label, f"{DEFINITIONS}/list", query, unordered=("model_definitions",))


VALUES = Dialogue(
    "gateway: values of secrets",
    (
        create("one value"),
        create(
            "two values", {"aws_access_key_id": "AKIA12345678", "aws_secret_access_key": "wJalrX"}
        ),
        create("seven characters", {"api_key": "1234567"}),
        create("eight characters", {"api_key": "12345678"}),
        create("an empty value", {"api_key": ""}),
        create("letters of other scripts", {"ключ": "пароль на девять"}),
        create("no value", {}),
        create("null", None),
        create("a host", {"api_key": "k", "api_base": "https://1.1.1.1"}),
        create("two ways to a host", {"model_list": "x", "base_url": "y"}),
        create("no name", secret_name=None),
        create("an empty name", secret_name=""),
        create("no provider", provider=None),
        create("an empty provider", provider="", created_by=""),
        create("by somebody", created_by="bob"),
        create("the same name", secret_name="$dialogue one value"),
        create("camel case", secret_value=None, secretValue=VALUE, createdBy="bob"),
        create("a field that is unknown", something="else"),
        post("no body", f"{SECRETS}/create"),
        config("a region", aws_region_name="eu-1", auth_mode="access_keys"),
        config("a public address", api_base="https://1.1.1.1/v1", auth_mode="api_key"),
        config("an address with spaces", api_base="  https://1.1.1.1/v1 "),
        config("an empty address", api_base=" ", auth_mode="api_key"),
        config("only an empty address", api_base=""),
        config("this machine", api_base="https://127.0.0.1/v1"),
        config("this machine by name", api_base="https://localhost/v1"),
        config("a private address", api_base="https://10.0.0.1"),
        config("an address of another kind", api_base="https://[::ffff:127.0.0.1]/"),
        config("half an address", api_base="https://[::1"),
        config("an old spelling", api_base="https://0177.0.0.1"),
        config("a short spelling", api_base="https://127.1"),
        config("no encryption", api_base="http://1.1.1.1"),
        config("a file", api_base="file:///etc/passwd"),
        config("no scheme", api_base="1.1.1.1"),
        config("no host", api_base="https://"),
        config("no such host", api_base="https://nowhere.invalid/v1"),
        config("another way to a host", base_url="https://1.1.1.1"),
        config("ways to a host", fallbacks="x", custom_llm_provider="y"),
        secrets("all of them"),
        secrets("of a provider", provider="openai"),
        secrets("of an unknown provider", provider="nobody"),
        secrets("of an empty provider", provider=""),
    ),
)

# After the lists of the others: stock stores secrets without the values that it cannot read.
WRONG = Dialogue(
    "gateway: values that are no texts",
    (
        create("a number", {"api_key": 5}),
        create("an inner null", {"api_key": None}),
        create("a text", "sk-1234567890"),
        create("a list", ["sk-1234567890"]),
        config("an object", nested={"a": "b"}),
        create("a provider that is a number", provider=5),
        create("a name that is a number", secret_name=5),
        create("a text that is one"),
    ),
)

LIFE = Dialogue(
    "gateway: secrets",
    (
        create("key", keep="secret", created_by="bob", auth_config={"auth_mode": "api_key"}),
        create("other", keep="other"),
        show("it"),
        show("an unknown one", "s-nope"),
        show("an empty id", ""),
        get("no id", f"{SECRETS}/get"),
        get("by name", f"{SECRETS}/get", {"secret_name": "$dialogue key"}),
        update("a value", secret_value={"api_key": "sk-zzzzzzzzzzzz"}, updated_by="amy"),
        show("after the value"),
        update("a configuration", auth_config={"auth_mode": "other", "region": "eu"}),
        update("an empty configuration", auth_config={}, updated_by="amy"),
        show("after the configuration"),
        update("a configuration without values", auth_config={"api_base": ""}),
        show("without a configuration"),
        update("nothing"),
        update("an empty updater", updated_by=""),
        update("a host in the value", secret_value={"api_base": "https://1.1.1.1"}),
        update("this machine", auth_config={"api_base": "https://127.0.0.1"}),
        update("a wrong value", secret_value={"api_key": 5}),
        update("an unknown secret", secret_id="s-nope", updated_by="x"),
        update("a value of an unknown secret", secret_id="s-nope", secret_value=VALUE),
        update("no secret", secret_id=None),
        show("after the changes"),
        define("uses it", keep="definition"),
        delete("delete it", f"{SECRETS}/delete", {"secret_id": "$secret"}),
        delete("delete it again", f"{SECRETS}/delete", {"secret_id": "$secret"}),
        delete("delete an unknown one", f"{SECRETS}/delete", {"secret_id": "s-nope"}),
        delete("delete none", f"{SECRETS}/delete", {}),
        definition("without its secret"),
        redefine("another secret", secret_id="$other"),
        definition("with another secret"),
        get("configuration", f"{AJAX}/secrets/config"),
    ),
)

MODELS = Dialogue(
    "gateway: model definitions",
    (
        create("key", keep="secret"),
        create("second key", keep="second"),
        define("md", keep="definition", created_by="bob"),
        define("the same name", name="$dialogue md"),
        define("an unknown secret", secret_id="s-nope"),
        define("no name", name=None),
        define("no secret", secret_id=None),
        define("no provider", provider=None),
        define("no model", model_name=None),
        define("an empty model", model_name=""),
        define("a number", model_name=5),
        define("an empty creator", created_by=""),
        define("other", provider="anthropic", secret_id="$second", model_name="claude"),
        definition("it"),
        definition("an unknown one", "d-nope"),
        get("no id", f"{DEFINITIONS}/get"),
        definitions("all"),
        definitions("of a provider", provider="anthropic"),
        definitions("of a secret", secret_id="$secret"),
        definitions("of both", secret_id="$secret", provider="anthropic"),
        definitions("of an unknown secret", secret_id="s-nope"),
        redefine("a model", model_name="gpt-5", updated_by="amy"),
        redefine("a name", name="$dialogue renamed"),
        redefine("its own name", name="$dialogue renamed"),
        redefine("a taken name", name="$dialogue other"),
        redefine("a secret", secret_id="$second"),
        redefine("an unknown secret for it", secret_id="s-nope", name="$dialogue unwritten"),
        redefine("a provider", provider="azure"),
        redefine("empty texts", name="", secret_id="", model_name="", provider="", updated_by=""),
        redefine("nothing"),
        redefine("an unknown definition", model_definition_id="d-nope", name="x"),
        redefine("no definition", model_definition_id=None),
        definition("after the changes"),
        delete("delete it", f"{DEFINITIONS}/delete", {"model_definition_id": "$definition"}),
        delete("delete it again", f"{DEFINITIONS}/delete", {"model_definition_id": "$definition"}),
        delete("delete none", f"{DEFINITIONS}/delete", {}),
        definitions("what is left"),
    ),
)

CATALOGUE = Dialogue(
    "gateway: providers and models",
    (
        get("providers", f"{AJAX}/supported-providers"),
        get("configuration without a provider", f"{AJAX}/provider-config"),
        get("configuration of an empty provider", f"{AJAX}/provider-config", {"provider": ""}),
        *(
            get(f"configuration of {name}", f"{AJAX}/provider-config", {"provider": name})
            for name in (
                "openai", "OpenAI", "bedrock", "bedrock_converse", "amazon-bedrock", "azure",
                "vertex_ai", "databricks", "databricks-model-serving", "portkey", "sagemaker",
                "typesafe", "ünbekannt", "a_b",
            )
        ),
        *(
            get(f"models of {name}", f"{AJAX}/supported-models", {"provider": name})
            for name in ("openai", "vertex_ai", "bedrock", "vertex_ai-ai21_models", "nobody", "OpenAI")
        ),
        get("all models", f"{AJAX}/supported-models"),
        get("all models of an empty provider", f"{AJAX}/supported-models", {"provider": ""}),
    ),
)  # fmt: skip

DIALOGUES = [VALUES, LIFE, MODELS, CATALOGUE, WRONG]
