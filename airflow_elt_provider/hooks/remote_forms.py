"""The connection forms of the remotes: what they have in common, and what each adds."""

from __future__ import annotations

from typing import Final

from airflow_elt_provider.hooks.forms import Field, Form

_IAP: Final = (
    Field(
        "iap_audience", "IAP audience", "string",
        "OAuth client id of the Identity-Aware Proxy in front (…apps.googleusercontent.com). Enough by itself: the "
        "token is then taken from where Airflow runs. For a signed JWT: the URL.",
    ),
    Field(
        "iap_mode", "IAP mode", "string",
        "id_token (OpenID Connect), signed_jwt (signed by a service account), auto (finds out), off.",
        choices=("off", "id_token", "signed_jwt", "auto"),
    ),
    Field(
        "iap_impersonate", "IAP service account", "string",
        "Service account to impersonate, e.g. airbyte-caller@project.iam.gserviceaccount.com; delegates before it, "
        "by comma. The caller needs roles/iam.serviceAccountTokenCreator on it.",
    ),
    Field(
        "google_conn_id", "Google connection", "string",
        "Airflow connection to take Google credentials from. Empty: the machine's own (Composer, GKE, GCE, or "
        "application default credentials).",
    ),
    Field(
        "keyfile_dict", "Service account key", "string",
        "JSON key of a service account, where there is no Google connection. Better none: impersonate.",
        secret=True, multiline=True,
    ),
)  # fmt: skip
_TLS: Final = (
    Field("ca_bundle", "CA bundle", "string", "File of a private certificate authority, on every machine of Airflow."),
    Field("client_cert", "Client certificate", "string", "File or PEM text.", multiline=True),
    Field(
        "client_private_key", "Client private key", "string", "File or PEM text, without a passphrase.",
        secret=True, multiline=True,
    ),
    Field("proxy", "HTTP proxy", "string", "URL; default: HTTPS_PROXY and NO_PROXY of the environment.", secret=True),
    Field(
        "auth_headers", "Further headers", "object",
        'JSON object of headers sent with every request, e.g. {"X-Tenant": "a"}.', secret=True, multiline=True,
    ),
    Field("timeout", "Timeout", "number", "Seconds to wait for an answer (default 30)."),
)  # fmt: skip
_PORT: Final = ("port", "443")
"""Airflow 3.3's Test button sends port 0 where the field is empty, and then refuses to test."""


def _auth(*kinds: str) -> Field:
    text = (
        "How the application itself knows its users, not the proxy in front (default: basic with a login, else none)."
    )
    return Field("auth", "Authentication", "string", text, choices=kinds)


AIRBYTE: Final = Form(
    conn_type="eltairbyte",
    hook_name="Airbyte (ELT)",
    hook_class="airflow_elt_provider.hooks.airbyte.EltAirbyteHook",
    fields=(
        _auth("none", "basic", "client_credentials", "bearer"),
        *_IAP,
        Field(
            "api", "API", "string", "public_v1 (current), config_v1 (0.40), auto (asks the server).",
            choices=("auto", "public_v1", "config_v1"),
        ),
        *_TLS,
    ),
    relabeled=(
        ("host", "Server"),
        ("schema", "http or https"),
        ("login", "User or client id"),
        ("password", "Password, client secret or token"),
    ),
    placeholders=(("host", "https://airbyte.example.com"), _PORT, ("schema", "https")),
)  # fmt: skip
FIVETRAN: Final = Form(
    conn_type="eltfivetran",
    hook_name="Fivetran (ELT)",
    hook_class="airflow_elt_provider.hooks.fivetran.EltFivetranHook",
    fields=(*_IAP, *_TLS),
    relabeled=(("host", "Server (empty: api.fivetran.com)"), ("schema", "http or https"), ("login", "API key"),
               ("password", "API secret")),
    placeholders=(("host", "https://api.fivetran.com"), _PORT, ("schema", "https")),
)  # fmt: skip
DIGDAG: Final = Form(
    conn_type="eltdigdag",
    hook_name="Digdag (ELT)",
    hook_class="airflow_elt_provider.hooks.digdag.EltDigdagHook",
    fields=(_auth("none", "basic", "bearer"), *_IAP, *_TLS),
    relabeled=(("host", "Server"), ("schema", "http or https")),
    placeholders=(("host", "https://digdag.example.com"), ("port", "65432"), ("schema", "https")),
)
REMOTE_FORMS: Final = (AIRBYTE, FIVETRAN, DIGDAG)
