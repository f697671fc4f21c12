"""Arguments that commands share, and how they are read."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from typing import Any


def add_stage(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the arguments that name the stage."""
    default = os.environ.get("AIRFLOW__ELT__STAGE")
    parser.add_argument(
        "--stage", required=required and default is None, default=default,
        help="file:///shared/folder or s3://bucket/prefix (default: AIRFLOW__ELT__STAGE)",
    )  # fmt: skip
    parser.add_argument("--stage-conn-id", help="for s3://; default: boto3's own credentials")


def picked(arguments: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of these names."""
    return {name: getattr(arguments, name) for name in names}


def column_list(text: str) -> tuple[str, ...]:
    """Read names that are separated by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def pair(text: str) -> tuple[str, str]:
    """Read NAME=VALUE."""
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        msg = f"{text!r} is not NAME=VALUE"
        raise argparse.ArgumentTypeError(msg)
    return name, value


def redaction(text: str) -> tuple[str, str]:
    """Read NAME or NAME=TEXT."""
    from airflow_elt_provider.core.request import REDACTED

    name, separator, value = text.partition("=")
    return name, value if separator else REDACTED


def json_or_text(text: str) -> Any:
    """Read a JSON object, or return the text itself."""
    return json_object(text) if text.lstrip().startswith("{") else text


def json_object(text: str) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f'{text!r} is no JSON object such as {{"name": "value"}}')
    return found


def count(text: str) -> int:
    """Read a whole number that is not negative."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return number


def amount(text: str, most: float = 1e6) -> float:
    """Read a number from 0 to ``most``."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= most:  # nor is NaN
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to {most:,.0f}")
    return number


def days(text: str) -> float:
    """Read a number of days that a calendar can go back."""
    return amount(text, 100_000)
