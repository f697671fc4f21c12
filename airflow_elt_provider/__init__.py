"""Move tables between systems from Airflow: extracted, staged and merged exactly once."""

__version__ = "0.1.0"
