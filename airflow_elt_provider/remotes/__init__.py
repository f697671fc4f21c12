"""Somebody else's sync engine: Airbyte, Fivetran, Digdag, driven over HTTP."""
