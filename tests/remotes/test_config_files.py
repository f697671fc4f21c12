"""Files of configuration: what is written is read again, whatever it is called; rubbish is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_elt_provider.errors import ConfigurationError
from airflow_elt_provider.remotes.config_as_code.files import HEAD, files_of, read_tree, write_tree
from airflow_elt_provider.remotes.config_as_code.model import ConfigObject, Key, Tree, joined, split, tree_of
from airflow_elt_provider.remotes.config_as_code.schema_lock import LockedStream, SchemaLock
from airflow_elt_provider.remotes.config_as_code.secret_values import marked
from airflow_elt_provider.remotes.config_as_code.yaml_text import dumped, loaded
from tests.remotes.config_memory import MemoryFolder, MemoryServer, PowerCut

KINDS = MemoryServer.kinds
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30).filter(
    lambda name: name.strip()
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=40)
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def folder_of(*objects: ConfigObject, locks: dict[Key, SchemaLock] | None = None) -> MemoryFolder:
    folder = MemoryFolder()
    write_tree(folder, tree_of("airbyte", objects, locks), KINDS, None)
    return folder


def source(name: str = "shop", workspace: str = "Prod", **configuration: Any) -> ConfigObject:
    return ConfigObject(
        Key("source", workspace, name), {"connector": "postgres", "configuration": marked(configuration)}
    )


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=20), JSON, max_size=5))
def test_yaml_gives_back_what_it_was_given(document: dict[str, Any]) -> None:
    assert loaded(dumped(document), "x.yaml") == document


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NAMES, NAMES), unique=True, min_size=1, max_size=6), JSON)
def test_a_tree_of_any_names_is_read_as_it_was_written(names: list[tuple[str, str]], value: Any) -> None:
    objects = [source(name, workspace, value=value) for workspace, name in names]
    locks = {one.key: SchemaLock({joined(name, "t"): LockedStream({name: "string"}, (name,))})
             for one, (_, name) in zip(objects, names, strict=True)}  # fmt: skip
    folder = folder_of(*objects, locks=locks)
    assert read_tree(folder, KINDS, "airbyte") == tree_of("airbyte", objects, locks)
    assert len({path.lower() for path in folder.files}) == len(folder.files)
    assert not [path for path in folder.files if ".." in path.split("/") or path.startswith("/")]


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3))
def test_a_dotted_name_gives_back_its_parts(parts: list[str]) -> None:
    assert split(joined(*parts)) == parts


def test_files_are_what_a_person_would_write() -> None:
    one = ConfigObject(
        Key("connection", "Prod", "Shop → BigQuery"),
        {"streams": {"public.orders": {"sync_mode": "incremental_append", "primary_key": ["id"]}}, "source": "shop",
         "schedule": {"type": "cron", "cron": "0 0 7 * * ?", "timezone": "Asia/Tokyo"}},
    )  # fmt: skip
    files = files_of(tree_of("airbyte", [one, source(host="db", password="**********", port=5432)]), KINDS)
    assert files["prod/connections/shop-bigquery.yaml"].decode() == (
        "kind: connection\nworkspace: Prod\nname: Shop → BigQuery\nsource: shop\nschedule:\n  cron: 0 0 7 * * ?\n"
        "  timezone: Asia/Tokyo\n  type: cron\nstreams:\n  public.orders:\n    primary_key:\n      - id\n"
        "    sync_mode: incremental_append\n"
    )
    assert files["prod/sources/shop.yaml"].decode() == (
        "kind: source\nworkspace: Prod\nname: shop\nconnector: postgres\nconfiguration:\n  host: db\n"
        "  password:\n    $secret: not exported\n  port: 5432\n"
    )


def test_names_that_would_share_a_file_get_one_each() -> None:
    files = files_of(tree_of("airbyte", [source("Shop"), source("shop"), source("crm")]), KINDS)
    assert len(files) == 3
    assert "prod/sources/crm.yaml" in files
    assert "prod/sources/shop.yaml" not in files


def test_references_stay_where_a_secret_was_exported_before() -> None:
    folder = folder_of(source(host="db", password="**********"))
    path = "prod/sources/shop.yaml"
    folder.files[path] = folder.files[path].replace(b"not exported", b"conn:shop.password")
    written = write_tree(folder, tree_of("airbyte", [source(host="db2", password="**********")]), KINDS, None)
    assert list(written.written) == [path]
    assert b"conn:shop.password" in folder.files[path]
    assert b"db2" in folder.files[path]


def test_files_of_what_is_gone_are_removed_and_no_others() -> None:
    folder = folder_of(source("shop"), source("crm"), source("other", "Test"))
    folder.files["README.md"] = b"mine"
    written = write_tree(folder, tree_of("airbyte", [source("crm")]), KINDS, ["Prod"])
    assert list(written.removed) == ["prod/sources/shop.yaml"]
    assert sorted(folder.files) == ["README.md", HEAD, "prod/sources/crm.yaml", "test/sources/other.yaml"]


def test_a_file_that_somebody_renamed_goes_back_to_its_place() -> None:
    folder = folder_of(source("shop"))
    folder.files["prod/sources/mine.yml"] = folder.files.pop("prod/sources/shop.yaml")
    written = write_tree(folder, tree_of("airbyte", [source("shop")]), KINDS, None)
    assert (list(written.written), list(written.removed)) == (["prod/sources/shop.yaml"], ["prod/sources/mine.yml"])
    assert len(read_tree(folder, KINDS, "airbyte").objects) == 1


def test_an_export_that_broke_off_is_no_configuration_until_it_is_repeated() -> None:
    folder = MemoryFolder()
    tree = tree_of("airbyte", [source(f"source {number}") for number in range(5)])
    for left in range(7):
        folder.left = left
        with pytest.raises(PowerCut):
            write_tree(folder, tree, KINDS, None)
        if left:
            with pytest.raises(ConfigurationError, match="broke off"):
                read_tree(folder, KINDS, "airbyte")
        folder.files.clear()
    folder.left = 3
    with pytest.raises(PowerCut):
        write_tree(folder, tree, KINDS, None)
    folder.left = None
    write_tree(folder, tree, KINDS, None)
    assert read_tree(folder, KINDS, "airbyte") == tree


RUBBISH = {
    "no yaml": ("a: [", "line 1"),
    "no mapping": ("- a", "holds no mapping"),
    "a key twice": ("kind: source\nkind: source\nname: x", "twice"),
    "an alias": ("kind: &a source\nname: *a", "alias"),
    "a bomb": ("a: &a [x]\nb: [*a, *a]", "alias"),
    "no kind": ("name: x", "kind is None"),
    "another kind": ("kind: sources\nname: x", "kind is 'sources'"),
    "a list of kinds": ("kind: [source]\nname: x", "kind is ['source']"),
    "no name": ("kind: source", "name is None"),
    "a number for a name": ("kind: source\nname: 7", "name is 7"),
    "a strange field": ("kind: source\nname: x\nconector: y", "no 'conector'"),
    "a secret in the open": ("kind: source\nname: x\nconfiguration:\n  password: hunter2", "in the open"),
    "a URL with a password": ("kind: source\nname: x\nconfiguration: {u: 'http://a:hunter2@b'}", "in the open"),
    "no reference": ("kind: source\nname: x\nconfiguration: {password: {$secret: hunter2}}", "no reference"),
    "not utf-8": ("\udcff", "yaml"),
    "python": ("!!python/object/apply:os.system ['true']", "yaml"),
    "a number as a key": ("kind: source\nname: x\nconfiguration: {1: x}", "no text"),
    "a template": ("kind: source\nname: x\nconfiguration: {host: {{ host }}}", "line 3: a key is no text"),
    "a list as a key": ("kind: source\nname: x\n? [a, b]\n: c", "line 3: a key is no text"),
    "a merge key": ("<<: {kind: source}\nname: x", "merge key"),
    "not a number": ("kind: source\nname: x\nconfiguration: {port: .nan}", "write a decimal number"),
    "octal": ("kind: source\nname: x\nconfiguration: {zip: 010}", "'010' may be read as something else"),
    "underscores": ("kind: source\nname: x\nconfiguration: {rows: 1_000}", "'1_000' may be"),
    "Norway": ("kind: source\nname: x\nconfiguration:\n  country: NO", "line 4: 'NO' may be read"),
    "a set": ("kind: source\nname: x\nconfiguration: !!set {x}", "a tag"),
    "a wrong boolean": ("kind: source\nname: x\nconfiguration: !!bool x", "a tag"),
    "utf-16": ("\udcff\udcfek", "no UTF-8 (byte 1 is 0xff)"),
    "a control character": ("kind: source\nname: 'a\x01'", "#x01"),
    "far too deep": ("a: " + "[" * 3000, "too deeply"),
    "a huge number": ("a: " + "9" * 5000, "too large"),
    "nothing": ("", "no mapping"),
    "two documents": ("a: 1\n---\nb: 2", "another document"),
    "a conflict of git": ("<<<<<<< HEAD\nkind: source\n=======\n", "yaml"),
}


@pytest.mark.parametrize("what", sorted(RUBBISH))
def test_a_file_that_cannot_be_meant_is_refused_by_name(what: str) -> None:
    text, said = RUBBISH[what]
    folder = folder_of(source())
    folder.files["prod/sources/x.yaml"] = text.encode("utf-8", "surrogateescape")
    with pytest.raises(ConfigurationError) as caught:
        read_tree(folder, KINDS, "airbyte")
    assert "prod/sources/x.yaml" in str(caught.value)
    assert said in str(caught.value)
    if "no reference" not in said:
        assert "hunter2" not in str(caught.value)


def test_a_value_is_what_it_looks_like() -> None:
    text = b"\xef\xbb\xbfkind: source\r\nat: 14:00\r\nday: 2024-02-30\r\nversion: 1.20\r\nhex: 0x1F\r\nnone: ~\r\n"
    assert loaded(text, "x.yaml") == {
        "kind": "source", "at": "14:00", "day": "2024-02-30", "version": 1.2, "hex": 31, "none": None,
    }  # fmt: skip


def test_a_folder_of_something_else_is_not_written_over() -> None:
    folder = MemoryFolder()
    folder.files["values.yaml"] = b"replicas: 3"
    with pytest.raises(ConfigurationError, match="no folder of exported configuration"):
        write_tree(folder, Tree("airbyte", {}), KINDS, None)
    other = folder_of(source())
    with pytest.raises(ConfigurationError, match="'airbyte'"):
        read_tree(other, KINDS, "fivetran")


def test_two_files_of_one_object_are_refused() -> None:
    folder = folder_of(source())
    folder.files["prod/sources/copy.yaml"] = folder.files["prod/sources/shop.yaml"]
    with pytest.raises(
        ConfigurationError, match=r"sources/shop.yaml and \S+/sources/copy.yaml are both of source Prod"
    ):
        read_tree(folder, KINDS, "airbyte")


SECRETS = {
    "mask": ("anything", "**********", True),
    "password": ("password", "x", True),
    "camel": ("clientSecret", "x", True),
    "api key": ("api_key", "x", True),
    "access key": ("aws_secret_access_key", "x", True),
    "credentials": ("credentials_json", "{}", True),
    "url": ("jdbc", "postgres://u:p@db/x", True),
    "private key": ("notes", "-----BEGIN RSA PRIVATE KEY-----\n", True),
    "token": ("x", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2ln", True),
    "aws": ("x", "AKIAIOSFODNN7EXAMPLE", True),
    "token url": ("token_url", "https://auth.example/token", False),
    "account": ("service_account", "elt@proj.iam.gserviceaccount.com", False),
    "plain url": ("url", "https://db.example:5432/x?user=a@b", False),
    "policy": ("password_policy", "strict", False),
    "empty": ("password", "", False),
    "number": ("port", 5432, False),
    "keys of a table": ("primary_key", "id", False),
}
SECRET_NAMES = """
    tunnel_user_password ssh_key client_secret refresh_token api_token personal_access_token aws_secret_access_key
    auth_token consumer_secret webhook_secret private_key_password bearer credentials_json_string sas_url
    shared_access_key account_key security_token session_token access_token security_key pass pwd oauth_token
    api_secret app_secret secret_key passphrase private_key_pass id_token jwt azure_blob_storage_account_key
    ssl_client_key client_key_password keystore_password hmac_key_secret service_account_info credentials_json
    mongodb_connection_string basic_auth_password shared_secret master_key write_key apiKey API_KEY access_secret
    aws_session_token secretKey app_password developer_token refreshToken private_app_token private_key_value pat
    sshKey tunnel_private_key pem password1 passcode auth_key deploy_key dbpass db_passwd license_key
    subscription_key signing_secret decryption_key cookies api_keys PASSWORD userPassword jwt_token sig
"""
PLAIN_NAMES = """
    token_type password_authentication key_column primary_key api_key_location tokens_per_minute secret_name
    token_url token_uri password_policy auth_type auth_method tunnel_method access_key_id key_id sort_key
    partition_key hash_key distribution_key client_id user login token_expiry_date max_tokens has_password
    foreign_key private_key_id public_key public_key_id kms_key_id tokenizer secret_version secrets_manager
    passwordless compass bypass key keys monkey cookie_policy api_key_name header_name service_account_email
    credentials_title credential_type encryption_method ssl_mode pass_through path spin patch signature_version
"""
SECRET_SHAPES = {
    "a URL with a great letter": "Postgres://u:hunter2@h/db",
    "parameters": "user=a&password=hunter2",
    "parameters of SQL Server": "jdbc:sqlserver://h;user=x;password=hunter2;",
    "Azure": "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=abc123==;EndpointSuffix=x",
    "a signed URL": "https://acc.blob.core.windows.net/c?sv=2020&sig=abcdef%3D",
    "a Slack webhook": "https://hooks.slack.com/services/T000/B000/XXXX",
    "GitHub": "github_pat_" + "1Aa" * 8,
    "GitLab": "glpat-" + "a" * 20,
    "Google": "AIza" + "Sy1aB" * 7,
    "Stripe": "sk_" + "live_" + "a1" * 8,
    "Databricks": "dapi" + "0123456789abcdef" * 2,
    "a header": "Bearer abcdefghijklmnop12345",
    "PGP": "-----BEGIN PGP PRIVATE KEY " + "BLOCK-----",
}


def test_names_of_secrets() -> None:
    assert [name for name in SECRET_NAMES.split() if marked({name: "x"}) != {name: {"$secret": "not exported"}}] == []
    assert [name for name in PLAIN_NAMES.split() if marked({name: "x"}) != {name: "x"}] == []


@pytest.mark.parametrize("what", sorted(SECRET_SHAPES))
def test_what_has_the_form_of_a_secret(what: str) -> None:
    assert marked({"x": SECRET_SHAPES[what]}) == {"x": {"$secret": "not exported"}}


@pytest.mark.parametrize(
    "text",
    ["a basic authentication method", "Bearer of good news, everyone", "https://db.example:5432/x@y", "sk_live",
     "-----BEGIN PUBLIC KEY-----", "password" + "1" * 60 + "x"],
)  # fmt: skip
def test_what_has_not(text: str) -> None:
    assert marked({"x": text, text: "x"}) == {"x": text, text: "x"}


@pytest.mark.parametrize("what", sorted(SECRETS))
def test_what_counts_as_a_secret(what: str) -> None:
    name, value, secret = SECRETS[what]
    assert marked({name: value}) == {name: {"$secret": "not exported"} if secret else value}
    assert marked({"in": [{name: value}]}) == {"in": [{name: {"$secret": "not exported"} if secret else value}]}
