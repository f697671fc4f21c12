"""One hook per system: credentials from an Airflow connection become a Source, a Destination or a Stage."""
