"""The two APIs' words for sync modes, schedules and namespaces; the state keeps those of the configuration API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

SYNC_MODES = {
    "full_refresh_overwrite": ("full_refresh", "overwrite"),
    "full_refresh_append": ("full_refresh", "append"),
    "full_refresh_overwrite_deduped": ("full_refresh", "overwrite_dedup"),
    "incremental_append": ("incremental", "append"),
    "incremental_deduped_history": ("incremental", "append_dedup"),
}
SYNC_WORDS = {pair: word for word, pair in SYNC_MODES.items()}
KEYED = frozenset({"append_dedup", "overwrite_dedup"})
NAMESPACES = {"source": "source", "destination": "destination", "custom_format": "customformat"}
BEHAVIOURS = {
    "ignore": "ignore",
    "disable_connection": "disable",
    "propagate_columns": "propagate_columns",
    "propagate_fully": "propagate_fully",
}
UNITS = frozenset({"minutes", "hours", "days", "weeks", "months"})
DEFAULTS: Mapping[str, Any] = {
    "namespaceDefinition": "destination",
    "prefix": "",
    "operationIds": [],
    "scheduleType": "manual",
    "geography": "auto",
    "breakingChange": False,
    "notifySchemaChanges": True,
    "nonBreakingChangesPreference": "ignore",
}
_CRON = re.compile(r"[0-9A-Z*/,\-?LW#]+")


def other_word(words: Mapping[str, str], word: str) -> str:
    """Return the public API's word for one of the configuration API."""
    return next((public for public, config in words.items() if config == word), word)


def shown_schedule(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schedule as the public API shows it: with the zone inside the cron expression, and basic ones too."""
    data = settings.get("scheduleData") or {}
    if settings.get("scheduleType") == "cron":
        cron = data["cron"]
        return {"scheduleType": "cron", "cronExpression": f"{cron['cronExpression']} {cron['cronTimeZone']}"}
    if settings.get("scheduleType") == "basic":
        basic = data["basicSchedule"]
        return {"scheduleType": "basic", "basicTiming": f"Every {basic['units']} {basic['timeUnit'].upper()}"}
    return {"scheduleType": "manual"}


def cron_problem(expression: str) -> str | None:
    """Return what is wrong with a Quartz expression: six or seven fields, each of a few signs."""
    fields = expression.split()
    if len(fields) not in {6, 7}:
        return f"Cron expression contains {len(fields)} parts but we expect one of [6, 7]"
    wrong = next((field for field in fields if not _CRON.fullmatch(field)), None)
    return wrong and f"Invalid chars in expression! Expression: {wrong}"


def without_zone(expression: str) -> str:
    """Return a cron expression of the public API without the only zone that it may name."""
    return expression.removesuffix("UTC").strip()
