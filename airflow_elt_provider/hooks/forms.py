"""Connection forms, each written once: Airflow 3 reads the provider info, Airflow 2 asks the hook."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final


@dataclass(frozen=True)
class Field:
    """A field of the form that is kept in the connection's extra.

    :param kind: its JSON type: ``string``, ``number``, ``integer``, ``boolean`` or ``object``.
    :param help: one sentence below the field.
    :param choices: the values it may have; () for any.
    :param secret: whether the form hides what is typed. Airflow masks the saved value by the *name* of the field
        only (``airflow._shared.secrets_masker``): a secret field is named with one of its words.
    :param multiline: whether it is a box of several lines.
    """

    name: str
    label: str
    kind: str
    help: str
    choices: tuple[str, ...] = ()
    secret: bool = False
    multiline: bool = False


@dataclass(frozen=True)
class Form:
    """A connection type's form.

    :param hidden: standard fields that mean nothing here.
    :param relabeled: standard field -> what it is called here.
    :param placeholders: standard field -> example.
    """

    conn_type: str
    hook_name: str
    hook_class: str
    fields: tuple[Field, ...] = ()
    hidden: tuple[str, ...] = ()
    relabeled: tuple[tuple[str, str], ...] = ()
    placeholders: tuple[tuple[str, str], ...] = ()

    def behaviour(self) -> dict[str, Any]:
        """Return what Airflow calls UI field behaviour, in the spelling of hooks."""
        return {
            "hidden_fields": list(self.hidden),
            "relabeling": dict(self.relabeled),
            "placeholders": dict(self.placeholders),
        }

    def widgets(self) -> dict[str, Any]:
        """Return the form fields of Airflow 2's web server; none where its form library is missing."""
        try:
            widgets, fields = import_module("flask_appbuilder.fieldwidgets"), import_module("wtforms")
        except ImportError:
            return {}
        found = {}
        for field in self.fields:
            kind = fields.PasswordField if field.secret and not field.multiline else fields.StringField
            widget = widgets.BS3PasswordFieldWidget if kind is fields.PasswordField else widgets.BS3TextFieldWidget
            found[field.name] = kind(field.label, widget=widget(), description=_help(field))
        return found

    def provider_entry(self) -> dict[str, Any]:
        """Return the entry of ``connection-types`` in the provider info."""
        behaviour = self.behaviour()
        return {
            "connection-type": self.conn_type,
            "hook-class-name": self.hook_class,
            "hook-name": self.hook_name,
            "ui-field-behaviour": {key.replace("_", "-"): value for key, value in behaviour.items()},
            "conn-fields": {field.name: _conn_field(field) for field in self.fields},
        }


def _conn_field(field: Field) -> dict[str, Any]:
    # Without "null" Airflow 3 marks a field as required.
    schema: dict[str, Any] = {"type": [field.kind, "null"]}
    if field.choices:
        schema["enum"] = [*field.choices, None]
        schema["values_display"] = {"null": "(default)"}
    if field.secret and not field.multiline:
        schema["format"] = "password"
    if field.multiline:
        schema["format"] = "multiline"
    return {"label": field.label, "description": field.help, "schema": schema}


def _help(field: Field) -> str:
    return f"{field.help} One of: {', '.join(field.choices)}." if field.choices else field.help


DUCKDB: Final = Form(
    conn_type="duckdb",
    hook_name="DuckDB",
    hook_class="airflow_elt_provider.hooks.duckdb.EltDuckdbHook",
    fields=(
        Field("lock_timeout", "Lock timeout", "number", "Seconds to wait in line for the file (default 600)."),
        Field("memory_limit", "Memory limit", "string", "DuckDB's own limit, e.g. 2GB (default 80 % of the machine)."),
        Field("threads", "Threads", "integer", "DuckDB's worker threads (default one per core)."),
        Field(
            "temp_directory",
            "Temporary folder",
            "string",
            "For what does not fit into memory (default beside the file).",
        ),
    ),
    hidden=("login", "password", "port", "schema"),
    relabeled=(("host", "Database file"),),
    placeholders=(("host", "/data/warehouse.duckdb"),),
)
HOLOGRES: Final = Form(
    conn_type="hologres",
    hook_name="Hologres",
    hook_class="airflow_elt_provider.hooks.hologres.EltHologresHook",
    fields=(
        Field(
            "elt_transactions",
            "Transactions",
            "string",
            "Whether merges run in DML transactions; auto (default): where the instance has them, from 2.0 on.",
            choices=("auto", "on", "off"),
        ),
        Field(
            "timestamptz",
            "Moments in time",
            "string",
            "exact (default): timestamp in UTC; milliseconds: timestamptz, which keeps no more.",
            choices=("exact", "milliseconds"),
        ),
        Field("lock_timeout", "Lock timeout", "number", "Seconds that a statement waits for a lock (default 60)."),
        Field(
            "statement_timeout",
            "Statement timeout",
            "number",
            "Seconds that a statement outside of merges may run (default no limit).",
        ),
        Field("sslmode", "SSL mode", "string", "libpq's sslmode, e.g. require or verify-full."),
    ),
    relabeled=(
        ("host", "Instance endpoint"),
        ("schema", "Database"),
        ("login", "AccessKey ID"),
        ("password", "AccessKey secret"),
    ),
    placeholders=(
        ("host", "hgprecn-cn-xxx-cn-hangzhou-vpc.hologres.aliyuncs.com"),
        ("port", "80"),
        ("login", "AccessKey ID of a RAM user, or BASIC$name"),
        ("schema", "warehouse"),
    ),
)
