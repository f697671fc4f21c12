"""The one procedure: extract -> stage -> merge. Talks to the protocols of :mod:`airflow_elt_provider.core` only."""
