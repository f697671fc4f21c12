"""Hologres: PostgreSQL's protocol, and much less of its SQL."""
