"""Servers that answer as Airbyte, Fivetran, Digdag, Google and Identity-Aware Proxy do, with faults on demand.

They speak HTTP over real sockets on free loopback ports, keep their state in memory, and follow the published
specifications. Where one of them is more lenient than the real server, its own docstring says so.
"""
