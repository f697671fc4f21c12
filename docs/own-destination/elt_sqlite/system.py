"""The row of the registry: import strings, so that reading it imports nothing."""

from airflow_elt_provider.registry import System

SYSTEM = System(
    name="sqlite",
    conn_types=("sqlite",),  # Airflow's own type: host is the file
    hook="elt_sqlite.hook:SqliteHook",
    destination="elt_sqlite.destination:SqliteDestination",
    settings="elt_sqlite.destination:file_of",  # for the command line, which knows no hooks
    distribution="elt-sqlite",
)
