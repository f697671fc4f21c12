"""Fivetran's configuration."""
