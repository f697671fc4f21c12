"""What a MySQL source says of itself."""

from __future__ import annotations

from dataclasses import replace

from airflow_elt_provider.connectors.mysql.source import MySqlSource
from airflow_elt_provider.core.doctor import Inquiry
from airflow_elt_provider.core.table_ref import TableRef


def verdicts(settings, dbname, *tables, captures=()):
    inquiry = Inquiry(tuple(TableRef((dbname, table)) for table in tables), captures=frozenset(captures))
    return {finding.check.removeprefix(f"{dbname}."): finding for finding in MySqlSource(settings).diagnose(inquiry)}


def test_tables_keys_and_captures(settings, sql, dbname):
    sql("CREATE TABLE item (id int PRIMARY KEY)", "CREATE TABLE keyless (a int) ENGINE = MyISAM")
    found = verdicts(settings, dbname, "item", "keyless", "itme", captures=["xmin"])
    assert {check: finding.verdict.value for check, finding in found.items()} == {
        "connect": "ok", "TLS": "ok", "capture xmin": "problem", "item: read": "ok", "item: key": "ok",
        "item: capture fingerprint": "ok", "keyless: read": "ok", "keyless: snapshot": "note", "keyless: key": "note",
        "keyless: capture fingerprint": "note", "itme: read": "problem",
    }  # fmt: skip
    assert "MariaDB 1" in found["connect"].detail
    assert "item" in found["itme: read"].remedy


def test_a_missing_grant_is_named(settings, sql, dbname):
    sql("CREATE TABLE item (id int PRIMARY KEY)", "CREATE TABLE seen (id int PRIMARY KEY)")
    sql("CREATE OR REPLACE USER 'poor'@'%' IDENTIFIED BY 'x'", f"GRANT SELECT ON {dbname}.seen TO 'poor'@'%'")
    poor = replace(settings, user="poor", password=type(settings.password)("x"))
    found = verdicts(poor, dbname, "seen", "item")
    assert found["seen: read"].verdict == "ok"
    assert "GRANT SELECT" in found["item: read"].remedy
