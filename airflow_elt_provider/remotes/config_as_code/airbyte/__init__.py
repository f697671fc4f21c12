"""Airbyte's configuration, through either of its APIs."""
