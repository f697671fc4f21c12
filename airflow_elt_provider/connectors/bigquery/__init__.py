"""BigQuery: files are loaded from Google Cloud Storage, merges are multi-statement transactions."""
