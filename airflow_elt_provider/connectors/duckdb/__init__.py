"""DuckDB: an embedded database in one file, with one writer at a time."""
