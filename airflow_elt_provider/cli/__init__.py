"""The ``elt`` command: the same journeys without Airflow."""

from airflow_elt_provider.cli.main import main

__all__ = ["main"]
