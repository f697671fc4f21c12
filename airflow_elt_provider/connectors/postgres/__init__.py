"""PostgreSQL 10 to 18, as source and destination."""
