"""One value, or several, of every PostgreSQL type, as SQL."""

from __future__ import annotations

DDL = (
    "CREATE TYPE mood AS ENUM ('happy', 'so so')", "CREATE DOMAIN cents AS numeric(10,2)",
    "CREATE TYPE pair AS (n int, s text)",
)  # fmt: skip

TYPES: dict[str, list[str]] = {
    "bool": ["true", "false"],
    "int2": ["-32768", "32767"],
    "int4": ["-2147483648"],
    "int8": ["9007199254740993", "-9223372036854775808"],
    "float4": ["1.1", "'NaN'", "'-Infinity'", "1e-45", "3.4028235e38"],
    "float8": ["0.1", "'NaN'", "'Infinity'", "5e-324", "1.7976931348623157e308", "-0.0"],
    "numeric(38,18)": ["12345678901234567890.123456789012345678", "-0.000000000000000001"],
    "numeric(12,2)": ["1.5", "'NaN'", "-9999999999.99", "0"],
    "numeric(3,-2)": ["12300"],
    "numeric(3,5)": ["0.00123"],
    "numeric(100,50)": ["12345678901234567890.123456789012345678"],
    "numeric": ["1e100", "'NaN'", "'-Infinity'", "1.00", "1e-200"],
    "money": ["'1234.5'", "'-0.01'"],
    "date": ["'2024-02-29'", "'infinity'", "'-infinity'", "'0044-03-15 BC'", "'0001-01-01'", "'9999-12-31'",
             "'10000-01-01'", "'5874897-12-31'"],
    "time": ["'01:02:03.000004'", "'24:00:00'", "'00:00:00'"],
    "time(0)": ["'01:02:03'"],
    "timetz": ["'01:02:03.000004+09'", "'24:00:00-15:59'"],
    "timestamp": ["'2024-01-01 01:02:03.000004'", "'infinity'", "'-infinity'", "'0044-03-15 01:02:03.5 BC'",
                  "'0001-01-01'", "'10000-01-01 00:00:00.000001'"],
    "timestamp(3)": ["'2024-01-01 01:02:03.004'"],
    "timestamptz": ["'2024-01-01 09:00:00.000001+09'", "'infinity'", "'-infinity'", "'0044-03-15 00:00:00+00 BC'",
                    "'20000-01-01 00:00:00+00'"],
    "interval": ["'1 year 2 months 3 days 04:05:06.7'", "'-1 mon +3 days'", "'30 days'"],
    "interval day to second(3)": ["'3 04:05:06.789'"],
    "json": ["""'{"a": 1,  "a":2, "s": "\\u00e9\\n"}'""", "'null'", "'12345678901234567890.123'"],
    "jsonb": ["""'{"n": 12345678901234567890.123, "m": 1.10}'""", "'[]'", "'null'"],
    "uuid": ["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"],
    "bytea": [r"'\x00ff0a22'", "''", r"'\x5c'"],
    "text": ["''", "' '", "E'\\\\'", "E'a\\tb\\nc\\rd\\\\N'", "'NULL'", "'é日本😀'", "E'\\\\.'", "'\"'", "'%s'"],
    "varchar(7)": ["'ab '"],
    "char(5)": ["'ab'", "''"],
    '"char"': ["'x'"],
    "name": ["'n'"],
    "int[]": ["'{1,NULL,-3}'", "'{}'", "'{{1,2},{3,4}}'", "'[2:4]={1,2,3}'", "'[0:1][-1:0]={{1,2},{3,4}}'"],
    "numeric[]": ["'{1.50,NaN,1e20}'"],
    "float8[]": ["'{1.5,NaN,Infinity,-Infinity,1e300,-0}'"],
    "bool[]": ["'{t,f,NULL}'"],
    "text[]": ["""array['a"b', NULL, 'NULL', '', 'c,d', '{e}', E'f\\ng', E'back\\\\slash', '日本', ' ']""",
               "array[['a','b'],['c',NULL]]", "'{}'"],
    "varchar(3)[]": ["'{abc}'"],
    "date[]": ["'{2024-01-01,infinity}'"],
    "timestamptz[]": ["'{2024-01-01 00:00:00+00}'"],
    "bytea[]": [r"array['\x00'::bytea, '']"],
    "jsonb[]": ["""array['{"a": 1}'::jsonb, 'null', NULL]"""],
    "box[]": ["'{(2,2),(1,1);(4,4),(3,3)}'"],
    "money[]": ["'{1234.5,NULL}'"],
    "mood": ["'so so'"],
    "mood[]": ["'{happy,\"so so\"}'"],
    "cents": ["12.5", "'NaN'"],
    "pair": ["row(1,'a,b')"],
    "bit(3)": ["B'101'"],
    "bit varying(9)": ["B'10101'", "B''"],
    "point": ["'(1,2.5)'"],
    "box": ["'(2,2),(1,1)'"],
    "polygon": ["'((0,0),(1,1),(1,0))'"],
    "tsvector": ["'fat:1A cat:2'::tsvector"],
    "tsquery": ["'fat & !rat'::tsquery"],
    "int4range": ["'[1,5)'", "'empty'", "'(,)'"],
    "numrange": ["'[1.0,2.00]'"],
    "tstzrange": ["'[2024-01-01 00:00:00+00,infinity)'"],
    "int4multirange": ["'{[1,2),[5,7)}'"],
    "inet": ["'10.0.0.1/24'", "'::1'"],
    "cidr": ["'10.0.0.0/8'"],
    "macaddr": ["'08:00:2b:01:02:03'"],
    "oid": ["4294967295"],
    "pg_lsn": ["'16/B374D848'"],
    "int2vector": ["'1 2'"],
    "regclass": ["'pg_class'::regclass"],
    "xid": ["'42'"],
}  # fmt: skip


def create(table: str) -> list[str]:
    """Return statements that make a table with one row per value, and one of NULLs; ``c<n>`` has the n-th type."""
    columns = ", ".join(f"c{at} {type_}" for at, type_ in enumerate(TYPES))
    statements = [f"CREATE TABLE {table} (id serial PRIMARY KEY, {columns})"]
    longest = max(map(len, TYPES.values()))
    for row in range(longest + 1):
        values = [values[row] if row < len(values) else "NULL" for values in TYPES.values()]
        statements.append(f"INSERT INTO {table} VALUES (DEFAULT, {', '.join(values)})")
    return statements
