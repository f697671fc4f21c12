"""Databricks: Delta tables, through a SQL warehouse."""
