"""The steps of a table's journey as Airflow operators."""
