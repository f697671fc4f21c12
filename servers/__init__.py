"""Throw-away real servers for the demo, the tests and the benchmarks.

Everything listens on free loopback ports, needs no root and no container, and ends only what it started.

==================  =====================================================================================
PostgresServer      a real PostgreSQL with logical replication, from a wheel, Debian's packages or the PATH
FaultProxy          TCP faults between a client and any server: latency, cuts, black holes, refusals
PostgresFaultProxy  the same, knowing PostgreSQL: cut at a statement, before or after the server runs it
TlsFront            TLS in front of a PostgreSQL built without it, with certificates made on the spot
S3Server            moto behind an HTTP front that injects the refusals moto is too lenient to give
GcsServer           gcp-storage-emulator behind an HTTP front that keeps preconditions and injects refusals
BigQueryServer      the emulator local-bigquery, in an environment of its own
SnowflakeServer     the emulator fakesnow, put right where it is wrong, in an environment of its own
DatabricksServer    a stand-in: the connector's wire, Sail's SQL, Delta tables; in an environment of its own
HologresServer      a real PostgreSQL behind a proxy that refuses what Hologres lacks
DigdagServer        the real Digdag from its executable jar, with a database in memory
==================  =====================================================================================

Names are imported from their modules (`from servers.postgres import PostgresServer`), so that a test of
PostgreSQL does not need what the S3 server needs.
"""
