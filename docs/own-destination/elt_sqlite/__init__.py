"""SQLite as a destination."""
