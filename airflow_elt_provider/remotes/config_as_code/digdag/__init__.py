"""Digdag's configuration."""
