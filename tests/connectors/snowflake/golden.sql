-- checkpoint, made with its row
CREATE TABLE IF NOT EXISTS "RAW"."_ELT"."CHECKPOINTS_E26F8AC42C078A53" AS SELECT CAST('pg.rental->it''s' AS VARCHAR) AS stream, CAST(0 AS NUMBER(19,0)) AS version, CAST('' AS VARCHAR) AS load_id, CAST('null' AS VARCHAR) AS position, CAST(CURRENT_TIMESTAMP() AS TIMESTAMP_TZ(9)) AS updated_at;

-- receipts
CREATE TABLE IF NOT EXISTS "RAW"."_ELT"."RECEIPTS" (load_id VARCHAR, run_key VARCHAR, stream VARCHAR, version NUMBER(19,0), extracted NUMBER(19,0), inserted NUMBER(19,0), updated NUMBER(19,0), deleted NUMBER(19,0), receipt VARCHAR, committed_at TIMESTAMP_TZ(9));

-- our schema
CREATE SCHEMA IF NOT EXISTS "RAW"."_ELT";

-- target
CREATE TABLE IF NOT EXISTS "RAW"."DVD"."RENTAL" ("ID" NUMBER(19,0), "NOTE" VARCHAR, "AMOUNT" NUMBER(12,2), "SEEN" TIMESTAMP_TZ(9), "DOC" VARIANT, "RAW" BINARY, "TAGS" VARIANT, "SIZES" VARIANT, "_ELT_DELETED_AT" TIMESTAMP_TZ(9));

-- target with options
CREATE TRANSIENT TABLE IF NOT EXISTS "RAW"."DVD"."RENTAL" ("ID" NUMBER(19,0)) CLUSTER BY ("SEEN") DATA_RETENTION_TIME_IN_DAYS = 1;

-- column
ALTER TABLE "RAW"."DVD"."RENTAL" ADD COLUMN IF NOT EXISTS "COLOUR" VARCHAR;

-- in place 1
ALTER TABLE "RAW"."DVD"."RENTAL" ALTER COLUMN "AMOUNT" SET DATA TYPE NUMBER(20,2);

-- retype 1
ALTER TABLE "RAW"."DVD"."RENTAL" DROP COLUMN IF EXISTS "_ELT_NEW_IT'S";

-- retype 2
ALTER TABLE "RAW"."DVD"."RENTAL" ADD COLUMN "_ELT_NEW_IT'S" NUMBER(20,4);

-- retype 3
UPDATE "RAW"."DVD"."RENTAL" SET "_ELT_NEW_IT'S" = CAST("IT'S" AS NUMBER(20,4));

-- retype 4
EXECUTE IMMEDIATE 'BEGIN ALTER TABLE "RAW"."DVD"."RENTAL" RENAME COLUMN "IT''S" TO "_ELT_OLD_IT''S"; ALTER TABLE "RAW"."DVD"."RENTAL" RENAME COLUMN "_ELT_NEW_IT''S" TO "IT''S"; END';

-- retype 5
UPDATE "RAW"."DVD"."RENTAL" SET "IT'S" = CAST("_ELT_OLD_IT'S" AS NUMBER(20,4)) WHERE "IT'S" IS NULL AND "_ELT_OLD_IT'S" IS NOT NULL;

-- retype 6
ALTER TABLE "RAW"."DVD"."RENTAL" DROP COLUMN IF EXISTS "_ELT_OLD_IT'S";

-- retype json 1
ALTER TABLE "RAW"."DVD"."RENTAL" DROP COLUMN IF EXISTS "_ELT_NEW_DOC";

-- retype json 2
ALTER TABLE "RAW"."DVD"."RENTAL" ADD COLUMN "_ELT_NEW_DOC" VARCHAR;

-- retype json 3
UPDATE "RAW"."DVD"."RENTAL" SET "_ELT_NEW_DOC" = CAST(TO_JSON("DOC") AS VARCHAR);

-- retype json 4
EXECUTE IMMEDIATE 'BEGIN ALTER TABLE "RAW"."DVD"."RENTAL" RENAME COLUMN "DOC" TO "_ELT_OLD_DOC"; ALTER TABLE "RAW"."DVD"."RENTAL" RENAME COLUMN "_ELT_NEW_DOC" TO "DOC"; END';

-- retype json 5
UPDATE "RAW"."DVD"."RENTAL" SET "DOC" = CAST(TO_JSON("_ELT_OLD_DOC") AS VARCHAR) WHERE "DOC" IS NULL AND "_ELT_OLD_DOC" IS NOT NULL;

-- retype json 6
ALTER TABLE "RAW"."DVD"."RENTAL" DROP COLUMN IF EXISTS "_ELT_OLD_DOC";

-- retype, finished 1
UPDATE "RAW"."DVD"."RENTAL" SET "IT'S" = CAST("_ELT_OLD_IT'S" AS NUMBER(20,4)) WHERE "IT'S" IS NULL AND "_ELT_OLD_IT'S" IS NOT NULL;

-- retype, finished 2
ALTER TABLE "RAW"."DVD"."RENTAL" DROP COLUMN IF EXISTS "_ELT_OLD_IT'S";

-- retype, begun anew 1
ALTER TABLE "RAW"."DVD"."RENTAL" RENAME COLUMN "_ELT_OLD_IT'S" TO "IT'S";

-- clustering
SHOW TABLES LIKE 'RENTAL' IN SCHEMA "RAW"."DVD";

-- staging table
CREATE TRANSIENT TABLE "RAW"."_ELT"."LOADING_20260102T030405_0123456789ABCDEF0123456789ABCDEF_89ABCDEF" ("ID" NUMBER(19,0), "NOTE" VARCHAR, "AMOUNT" NUMBER(12,2), "SEEN" TIMESTAMP_TZ(9), "DOC" VARCHAR, "RAW" BINARY, "TAGS" VARCHAR, "SIZES" VARCHAR, "_ELT_EXACT" VARCHAR) DATA_RETENTION_TIME_IN_DAYS = 0;

-- copy from a named stage
COPY INTO "RAW"."_ELT"."LOADING_20260102T030405_0123456789ABCDEF0123456789ABCDEF_89ABCDEF" FROM @"RAW"."LOADING"."BUCKET" FILES = ('s-0/part-00000.parquet', 'it''s.parquet') FILE_FORMAT = (TYPE = PARQUET USE_VECTORIZED_SCANNER = TRUE BINARY_AS_TEXT = FALSE USE_LOGICAL_TYPE = TRUE) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE ON_ERROR = ABORT_STATEMENT;

-- copy with an integration
COPY INTO "RAW"."_ELT"."LOADING_20260102T030405_0123456789ABCDEF0123456789ABCDEF_89ABCDEF" FROM 's3://company-elt/prod/' STORAGE_INTEGRATION = "ELT" FILES = ('s-0/part-00000.parquet', 'it''s.parquet') FILE_FORMAT = (TYPE = PARQUET USE_VECTORIZED_SCANNER = TRUE BINARY_AS_TEXT = FALSE USE_LOGICAL_TYPE = TRUE) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE ON_ERROR = ABORT_STATEMENT;

-- copy with keys
COPY INTO "RAW"."_ELT"."LOADING_20260102T030405_0123456789ABCDEF0123456789ABCDEF_89ABCDEF" FROM 's3://company-elt/prod/' CREDENTIALS = (AWS_KEY_ID = 'AKIA' AWS_SECRET_KEY = 's''\\' AWS_TOKEN = 't') FILES = ('s-0/part-00000.parquet', 'it''s.parquet') FILE_FORMAT = (TYPE = PARQUET USE_VECTORIZED_SCANNER = TRUE BINARY_AS_TEXT = FALSE USE_LOGICAL_TYPE = TRUE) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE ON_ERROR = ABORT_STATEMENT;

-- copy from inside
COPY INTO "RAW"."_ELT"."LOADING_20260102T030405_0123456789ABCDEF0123456789ABCDEF_89ABCDEF" FROM @"RAW"."_ELT"."FILES"/2026_0_1/ FILES = ('part-00000.parquet') FILE_FORMAT = (TYPE = PARQUET USE_VECTORIZED_SCANNER = TRUE BINARY_AS_TEXT = FALSE USE_LOGICAL_TYPE = TRUE) MATCH_BY_COLUMN_NAME = CASE_INSENSITIVE ON_ERROR = ABORT_STATEMENT;

-- internal stage
CREATE STAGE IF NOT EXISTS "RAW"."_ELT"."FILES" FILE_FORMAT = (TYPE = PARQUET);

-- remove
REMOVE @"RAW"."_ELT"."FILES"/20260102T030405_0123456789ABCDEF0123456789ABCDEF_89ABCDEF/;

-- drop
DROP TABLE IF EXISTS "RAW"."_ELT"."STAGING_20260102T030405_0123456789ABCDEF0123456789ABCDEF_89ABCDEF";

-- lock
UPDATE "RAW"."_ELT"."CHECKPOINTS_043A718774C572BD" SET stream = stream WHERE stream = ?;

-- compare and set
UPDATE "RAW"."_ELT"."CHECKPOINTS_043A718774C572BD" SET version = ?, load_id = ?, position = ?, updated_at = CURRENT_TIMESTAMP() WHERE stream = ? AND version = ?;

-- compare
SELECT COUNT_IF(_elt_t."ID" IS NULL), COUNT_IF(_elt_s."ID" IS NULL AND _elt_t."_ELT_DELETED_AT" IS NULL), COUNT_IF(_elt_t."ID" IS NOT NULL AND _elt_s."ID" IS NOT NULL AND (_elt_t."NOTE" IS DISTINCT FROM _elt_s."NOTE" OR _elt_t."AMOUNT" IS DISTINCT FROM _elt_s."AMOUNT" OR _elt_t."SEEN" IS DISTINCT FROM _elt_s."SEEN" OR TO_JSON(_elt_t."DOC") IS DISTINCT FROM TO_JSON(_elt_s."DOC") OR _elt_t."RAW" IS DISTINCT FROM _elt_s."RAW" OR TO_JSON(_elt_t."TAGS") IS DISTINCT FROM TO_JSON(_elt_s."TAGS") OR TO_JSON(_elt_t."SIZES") IS DISTINCT FROM TO_JSON(_elt_s."SIZES") OR _elt_t."_ELT_DELETED_AT" IS NOT NULL)) FROM (SELECT _elt_r."ID" AS "ID", _elt_r."NOTE" AS "NOTE", _elt_r."AMOUNT" AS "AMOUNT", _elt_r."SEEN" AS "SEEN", PARSE_JSON(_elt_r."DOC", 'd') AS "DOC", _elt_r."RAW" AS "RAW", PARSE_JSON(ARRAY_TO_STRING(TRANSFORM(REGEXP_SUBSTR_ALL(REGEXP_REPLACE(_elt_r."TAGS", '^(\\[-?[0-9]+:-?[0-9]+\\])+=', ''), '"([^"\\\\]|\\\\(["\\\\]))*"|[{},]|[^{}",]+'), _elt_x VARCHAR -> CASE WHEN _elt_x = '{' THEN '[' WHEN _elt_x = '}' THEN ']' WHEN _elt_x = ',' THEN ',' WHEN _elt_x = 'NULL' THEN 'null' WHEN LEFT(_elt_x, 1) = '"' THEN TO_JSON(TO_VARIANT(REGEXP_REPLACE(SUBSTR(_elt_x, 2, LENGTH(_elt_x) - 2), '\\\\(["\\\\])', '\\1'))) ELSE TO_JSON(TO_VARIANT(_elt_x)) END), ''), 'd') AS "TAGS", PARSE_JSON(ARRAY_TO_STRING(TRANSFORM(REGEXP_SUBSTR_ALL(REGEXP_REPLACE(_elt_r."SIZES", '^(\\[-?[0-9]+:-?[0-9]+\\])+=', ''), '"([^"\\\\]|\\\\(["\\\\]))*"|[{},]|[^{}",]+'), _elt_x VARCHAR -> CASE WHEN _elt_x = '{' THEN '[' WHEN _elt_x = '}' THEN ']' WHEN _elt_x = ',' THEN ',' WHEN _elt_x = 'NULL' THEN 'null' WHEN LEFT(_elt_x, 1) = '"' THEN TO_JSON(TO_VARIANT(REGEXP_REPLACE(SUBSTR(_elt_x, 2, LENGTH(_elt_x) - 2), '\\\\(["\\\\])', '\\1'))) ELSE CASE WHEN REGEXP_LIKE(_elt_x, '^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?$') THEN _elt_x ELSE TO_JSON(TO_VARIANT(_elt_x)) END END), ''), 'd') AS "SIZES" FROM "RAW"."_ELT"."STAGING_20260102T030405_0123456789ABCDEF0123456789ABCDEF_89ABCDEF" _elt_r) _elt_s FULL JOIN "RAW"."DVD"."RENTAL" _elt_t ON _elt_t."ID" = _elt_s."ID";

-- soft delete
UPDATE "RAW"."DVD"."RENTAL" AS _elt_t SET "_ELT_DELETED_AT" = CURRENT_TIMESTAMP() WHERE _elt_t."_ELT_DELETED_AT" IS NULL AND NOT EXISTS (SELECT 1 FROM (SELECT _elt_r."ID" AS "ID", _elt_r."NOTE" AS "NOTE", _elt_r."AMOUNT" AS "AMOUNT", _elt_r."SEEN" AS "SEEN", PARSE_JSON(_elt_r."DOC", 'd') AS "DOC", _elt_r."RAW" AS "RAW", PARSE_JSON(ARRAY_TO_STRING(TRANSFORM(REGEXP_SUBSTR_ALL(REGEXP_REPLACE(_elt_r."TAGS", '^(\\[-?[0-9]+:-?[0-9]+\\])+=', ''), '"([^"\\\\]|\\\\(["\\\\]))*"|[{},]|[^{}",]+'), _elt_x VARCHAR -> CASE WHEN _elt_x = '{' THEN '[' WHEN _elt_x = '}' THEN ']' WHEN _elt_x = ',' THEN ',' WHEN _elt_x = 'NULL' THEN 'null' WHEN LEFT(_elt_x, 1) = '"' THEN TO_JSON(TO_VARIANT(REGEXP_REPLACE(SUBSTR(_elt_x, 2, LENGTH(_elt_x) - 2), '\\\\(["\\\\])', '\\1'))) ELSE TO_JSON(TO_VARIANT(_elt_x)) END), ''), 'd') AS "TAGS", PARSE_JSON(ARRAY_TO_STRING(TRANSFORM(REGEXP_SUBSTR_ALL(REGEXP_REPLACE(_elt_r."SIZES", '^(\\[-?[0-9]+:-?[0-9]+\\])+=', ''), '"([^"\\\\]|\\\\(["\\\\]))*"|[{},]|[^{}",]+'), _elt_x VARCHAR -> CASE WHEN _elt_x = '{' THEN '[' WHEN _elt_x = '}' THEN ']' WHEN _elt_x = ',' THEN ',' WHEN _elt_x = 'NULL' THEN 'null' WHEN LEFT(_elt_x, 1) = '"' THEN TO_JSON(TO_VARIANT(REGEXP_REPLACE(SUBSTR(_elt_x, 2, LENGTH(_elt_x) - 2), '\\\\(["\\\\])', '\\1'))) ELSE CASE WHEN REGEXP_LIKE(_elt_x, '^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?$') THEN _elt_x ELSE TO_JSON(TO_VARIANT(_elt_x)) END END), ''), 'd') AS "SIZES" FROM "RAW"."_ELT"."STAGING_20260102T030405_0123456789ABCDEF0123456789ABCDEF_89ABCDEF" _elt_r) _elt_s WHERE _elt_t."ID" = _elt_s."ID");

-- hard delete
DELETE FROM "RAW"."DVD"."RENTAL" AS _elt_t WHERE NOT EXISTS (SELECT 1 FROM (SELECT _elt_r."ID" AS "ID", _elt_r."NOTE" AS "NOTE", _elt_r."AMOUNT" AS "AMOUNT", _elt_r."SEEN" AS "SEEN", PARSE_JSON(_elt_r."DOC", 'd') AS "DOC", _elt_r."RAW" AS "RAW", PARSE_JSON(ARRAY_TO_STRING(TRANSFORM(REGEXP_SUBSTR_ALL(REGEXP_REPLACE(_elt_r."TAGS", '^(\\[-?[0-9]+:-?[0-9]+\\])+=', ''), '"([^"\\\\]|\\\\(["\\\\]))*"|[{},]|[^{}",]+'), _elt_x VARCHAR -> CASE WHEN _elt_x = '{' THEN '[' WHEN _elt_x = '}' THEN ']' WHEN _elt_x = ',' THEN ',' WHEN _elt_x = 'NULL' THEN 'null' WHEN LEFT(_elt_x, 1) = '"' THEN TO_JSON(TO_VARIANT(REGEXP_REPLACE(SUBSTR(_elt_x, 2, LENGTH(_elt_x) - 2), '\\\\(["\\\\])', '\\1'))) ELSE TO_JSON(TO_VARIANT(_elt_x)) END), ''), 'd') AS "TAGS", PARSE_JSON(ARRAY_TO_STRING(TRANSFORM(REGEXP_SUBSTR_ALL(REGEXP_REPLACE(_elt_r."SIZES", '^(\\[-?[0-9]+:-?[0-9]+\\])+=', ''), '"([^"\\\\]|\\\\(["\\\\]))*"|[{},]|[^{}",]+'), _elt_x VARCHAR -> CASE WHEN _elt_x = '{' THEN '[' WHEN _elt_x = '}' THEN ']' WHEN _elt_x = ',' THEN ',' WHEN _elt_x = 'NULL' THEN 'null' WHEN LEFT(_elt_x, 1) = '"' THEN TO_JSON(TO_VARIANT(REGEXP_REPLACE(SUBSTR(_elt_x, 2, LENGTH(_elt_x) - 2), '\\\\(["\\\\])', '\\1'))) ELSE CASE WHEN REGEXP_LIKE(_elt_x, '^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?$') THEN _elt_x ELSE TO_JSON(TO_VARIANT(_elt_x)) END END), ''), 'd') AS "SIZES" FROM "RAW"."_ELT"."STAGING_20260102T030405_0123456789ABCDEF0123456789ABCDEF_89ABCDEF" _elt_r) _elt_s WHERE _elt_t."ID" = _elt_s."ID");

-- merge
MERGE INTO "RAW"."DVD"."RENTAL" AS _elt_t USING (SELECT _elt_r."ID" AS "ID", _elt_r."NOTE" AS "NOTE", _elt_r."AMOUNT" AS "AMOUNT", _elt_r."SEEN" AS "SEEN", PARSE_JSON(_elt_r."DOC", 'd') AS "DOC", _elt_r."RAW" AS "RAW", PARSE_JSON(ARRAY_TO_STRING(TRANSFORM(REGEXP_SUBSTR_ALL(REGEXP_REPLACE(_elt_r."TAGS", '^(\\[-?[0-9]+:-?[0-9]+\\])+=', ''), '"([^"\\\\]|\\\\(["\\\\]))*"|[{},]|[^{}",]+'), _elt_x VARCHAR -> CASE WHEN _elt_x = '{' THEN '[' WHEN _elt_x = '}' THEN ']' WHEN _elt_x = ',' THEN ',' WHEN _elt_x = 'NULL' THEN 'null' WHEN LEFT(_elt_x, 1) = '"' THEN TO_JSON(TO_VARIANT(REGEXP_REPLACE(SUBSTR(_elt_x, 2, LENGTH(_elt_x) - 2), '\\\\(["\\\\])', '\\1'))) ELSE TO_JSON(TO_VARIANT(_elt_x)) END), ''), 'd') AS "TAGS", PARSE_JSON(ARRAY_TO_STRING(TRANSFORM(REGEXP_SUBSTR_ALL(REGEXP_REPLACE(_elt_r."SIZES", '^(\\[-?[0-9]+:-?[0-9]+\\])+=', ''), '"([^"\\\\]|\\\\(["\\\\]))*"|[{},]|[^{}",]+'), _elt_x VARCHAR -> CASE WHEN _elt_x = '{' THEN '[' WHEN _elt_x = '}' THEN ']' WHEN _elt_x = ',' THEN ',' WHEN _elt_x = 'NULL' THEN 'null' WHEN LEFT(_elt_x, 1) = '"' THEN TO_JSON(TO_VARIANT(REGEXP_REPLACE(SUBSTR(_elt_x, 2, LENGTH(_elt_x) - 2), '\\\\(["\\\\])', '\\1'))) ELSE CASE WHEN REGEXP_LIKE(_elt_x, '^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?$') THEN _elt_x ELSE TO_JSON(TO_VARIANT(_elt_x)) END END), ''), 'd') AS "SIZES" FROM "RAW"."_ELT"."STAGING_20260102T030405_0123456789ABCDEF0123456789ABCDEF_89ABCDEF" _elt_r) AS _elt_s ON _elt_t."ID" = _elt_s."ID" WHEN MATCHED AND (_elt_t."NOTE" IS DISTINCT FROM _elt_s."NOTE" OR _elt_t."AMOUNT" IS DISTINCT FROM _elt_s."AMOUNT" OR _elt_t."SEEN" IS DISTINCT FROM _elt_s."SEEN" OR TO_JSON(_elt_t."DOC") IS DISTINCT FROM TO_JSON(_elt_s."DOC") OR _elt_t."RAW" IS DISTINCT FROM _elt_s."RAW" OR TO_JSON(_elt_t."TAGS") IS DISTINCT FROM TO_JSON(_elt_s."TAGS") OR TO_JSON(_elt_t."SIZES") IS DISTINCT FROM TO_JSON(_elt_s."SIZES") OR _elt_t."_ELT_DELETED_AT" IS NOT NULL) THEN UPDATE SET "NOTE" = _elt_s."NOTE", "AMOUNT" = _elt_s."AMOUNT", "SEEN" = _elt_s."SEEN", "DOC" = _elt_s."DOC", "RAW" = _elt_s."RAW", "TAGS" = _elt_s."TAGS", "SIZES" = _elt_s."SIZES", "_ELT_DELETED_AT" = NULL WHEN NOT MATCHED THEN INSERT ("ID", "NOTE", "AMOUNT", "SEEN", "DOC", "RAW", "TAGS", "SIZES") VALUES (_elt_s."ID", _elt_s."NOTE", _elt_s."AMOUNT", _elt_s."SEEN", _elt_s."DOC", _elt_s."RAW", _elt_s."TAGS", _elt_s."SIZES");

-- nulled
SELECT COUNT_IF((_elt_r."_ELT_EXACT" IS NOT NULL AND CAST(GET(PARSE_JSON(_elt_r."_ELT_EXACT"), 'seen') AS VARCHAR) IS NOT NULL) AND _elt_r."SEEN" IS NULL) FROM "RAW"."_ELT"."STAGING_20260102T030405_0123456789ABCDEF0123456789ABCDEF_89ABCDEF" _elt_r;

-- lossy
SELECT count(*) FROM "RAW"."_ELT"."STAGING_20260102T030405_0123456789ABCDEF0123456789ABCDEF_89ABCDEF" _elt_r WHERE _elt_r."AMOUNT" IS DISTINCT FROM TRY_CAST(CAST(TRY_CAST(CAST(_elt_r."AMOUNT" AS VARCHAR) AS NUMBER(12,2)) AS VARCHAR) AS NUMBER(12,2));

-- json into text
INSERT INTO "RAW"."DVD"."RENTAL" ("ID", "NOTE", "AMOUNT", "SEEN", "DOC", "RAW", "TAGS", "SIZES") SELECT _elt_s."ID", _elt_s."NOTE", _elt_s."AMOUNT", _elt_s."SEEN", _elt_s."DOC", _elt_s."RAW", _elt_s."TAGS", _elt_s."SIZES" FROM (SELECT _elt_r."ID" AS "ID", _elt_r."NOTE" AS "NOTE", _elt_r."AMOUNT" AS "AMOUNT", _elt_r."SEEN" AS "SEEN", CAST(TO_JSON(PARSE_JSON(_elt_r."DOC", 'd')) AS VARCHAR(9)) AS "DOC", _elt_r."RAW" AS "RAW", coalesce(CAST(TO_JSON(PARSE_JSON(ARRAY_TO_STRING(TRANSFORM(REGEXP_SUBSTR_ALL(REGEXP_REPLACE(_elt_r."TAGS", '^(\\[-?[0-9]+:-?[0-9]+\\])+=', ''), '"([^"\\\\]|\\\\(["\\\\]))*"|[{},]|[^{}",]+'), _elt_x VARCHAR -> CASE WHEN _elt_x = '{' THEN '[' WHEN _elt_x = '}' THEN ']' WHEN _elt_x = ',' THEN ',' WHEN _elt_x = 'NULL' THEN 'null' WHEN LEFT(_elt_x, 1) = '"' THEN TO_JSON(TO_VARIANT(REGEXP_REPLACE(SUBSTR(_elt_x, 2, LENGTH(_elt_x) - 2), '\\\\(["\\\\])', '\\1'))) ELSE TO_JSON(TO_VARIANT(_elt_x)) END), ''), 'd')) AS VARCHAR), CAST(GET(PARSE_JSON(_elt_r."_ELT_EXACT"), 'tags') AS VARCHAR)) AS "TAGS", PARSE_JSON(ARRAY_TO_STRING(TRANSFORM(REGEXP_SUBSTR_ALL(REGEXP_REPLACE(_elt_r."SIZES", '^(\\[-?[0-9]+:-?[0-9]+\\])+=', ''), '"([^"\\\\]|\\\\(["\\\\]))*"|[{},]|[^{}",]+'), _elt_x VARCHAR -> CASE WHEN _elt_x = '{' THEN '[' WHEN _elt_x = '}' THEN ']' WHEN _elt_x = ',' THEN ',' WHEN _elt_x = 'NULL' THEN 'null' WHEN LEFT(_elt_x, 1) = '"' THEN TO_JSON(TO_VARIANT(REGEXP_REPLACE(SUBSTR(_elt_x, 2, LENGTH(_elt_x) - 2), '\\\\(["\\\\])', '\\1'))) ELSE CASE WHEN REGEXP_LIKE(_elt_x, '^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?$') THEN _elt_x ELSE TO_JSON(TO_VARIANT(_elt_x)) END END), ''), 'd') AS "SIZES" FROM "RAW"."_ELT"."STAGING_20260102T030405_0123456789ABCDEF0123456789ABCDEF_89ABCDEF" _elt_r) _elt_s;

-- json into frozen text
SELECT count(*) FROM "RAW"."_ELT"."STAGING_20260102T030405_0123456789ABCDEF0123456789ABCDEF_89ABCDEF" _elt_r WHERE TO_JSON(PARSE_JSON(_elt_r."DOC", 'd')) IS DISTINCT FROM TO_JSON(TRY_PARSE_JSON(CAST(TRY_CAST(CAST(TO_JSON(PARSE_JSON(_elt_r."DOC", 'd')) AS VARCHAR) AS VARCHAR(9)) AS VARCHAR), 'd'));

-- receipt
INSERT INTO "RAW"."_ELT"."RECEIPTS" (load_id, run_key, stream, version, extracted, inserted, updated, deleted, receipt, committed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, CURRENT_TIMESTAMP());

-- backfill id
UPDATE "RAW"."DVD"."RENTAL" SET "ID" = CAST(? AS NUMBER(19,0)) WHERE "ID" IS NULL;

-- backfill note
UPDATE "RAW"."DVD"."RENTAL" SET "NOTE" = CAST(? AS VARCHAR) WHERE "NOTE" IS NULL;

-- backfill amount
UPDATE "RAW"."DVD"."RENTAL" SET "AMOUNT" = CAST(? AS NUMBER(12,2)) WHERE "AMOUNT" IS NULL;

-- backfill seen
UPDATE "RAW"."DVD"."RENTAL" SET "SEEN" = TRY_CAST(REGEXP_REPLACE(?, '(:[0-9.]+[+-][0-9][0-9])$', '\\1:00') AS TIMESTAMP_TZ(9)) WHERE "SEEN" IS NULL;

-- backfill doc
UPDATE "RAW"."DVD"."RENTAL" SET "DOC" = PARSE_JSON(?, 'd') WHERE "DOC" IS NULL;

-- backfill raw
UPDATE "RAW"."DVD"."RENTAL" SET "RAW" = TO_BINARY(REGEXP_REPLACE(?, '^\\\\x', ''), 'HEX') WHERE "RAW" IS NULL;

-- backfill tags
UPDATE "RAW"."DVD"."RENTAL" SET "TAGS" = PARSE_JSON(ARRAY_TO_STRING(TRANSFORM(REGEXP_SUBSTR_ALL(REGEXP_REPLACE(?, '^(\\[-?[0-9]+:-?[0-9]+\\])+=', ''), '"([^"\\\\]|\\\\(["\\\\]))*"|[{},]|[^{}",]+'), _elt_x VARCHAR -> CASE WHEN _elt_x = '{' THEN '[' WHEN _elt_x = '}' THEN ']' WHEN _elt_x = ',' THEN ',' WHEN _elt_x = 'NULL' THEN 'null' WHEN LEFT(_elt_x, 1) = '"' THEN TO_JSON(TO_VARIANT(REGEXP_REPLACE(SUBSTR(_elt_x, 2, LENGTH(_elt_x) - 2), '\\\\(["\\\\])', '\\1'))) ELSE TO_JSON(TO_VARIANT(_elt_x)) END), ''), 'd') WHERE "TAGS" IS NULL;

-- backfill sizes
UPDATE "RAW"."DVD"."RENTAL" SET "SIZES" = PARSE_JSON(ARRAY_TO_STRING(TRANSFORM(REGEXP_SUBSTR_ALL(REGEXP_REPLACE(?, '^(\\[-?[0-9]+:-?[0-9]+\\])+=', ''), '"([^"\\\\]|\\\\(["\\\\]))*"|[{},]|[^{}",]+'), _elt_x VARCHAR -> CASE WHEN _elt_x = '{' THEN '[' WHEN _elt_x = '}' THEN ']' WHEN _elt_x = ',' THEN ',' WHEN _elt_x = 'NULL' THEN 'null' WHEN LEFT(_elt_x, 1) = '"' THEN TO_JSON(TO_VARIANT(REGEXP_REPLACE(SUBSTR(_elt_x, 2, LENGTH(_elt_x) - 2), '\\\\(["\\\\])', '\\1'))) ELSE CASE WHEN REGEXP_LIKE(_elt_x, '^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?$') THEN _elt_x ELSE TO_JSON(TO_VARIANT(_elt_x)) END END), ''), 'd') WHERE "SIZES" IS NULL;

