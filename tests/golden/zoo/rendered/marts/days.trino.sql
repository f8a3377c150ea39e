CREATE SCHEMA IF NOT EXISTS "lake"."zoo_marts";

CREATE OR REPLACE TABLE "lake"."zoo_marts"."days"
COMMENT 'Partitioned, over every kind of column.'
WITH (partitioning = ARRAY['day']) AS
SELECT
  DATE("e"."t_datetime") AS "day",
  "e".*,
  "s"."price"
FROM "lake"."zoo"."every-type" AS "e"
LEFT JOIN "lake"."zoo"."Select" AS "s"
  ON "s"."größe" = "e"."id"
WITH NO DATA;

-- what its partitions are computed from
SELECT DATE("t_datetime") AS part, count(*) AS source_rows, coalesce(to_hex(checksum(json_format(CAST(ARRAY[CAST("_committed_at" AS varchar), CAST("_gtid" AS varchar), CAST("_op" AS varchar), CAST("_position" AS varchar), CAST("a_bigint" AS varchar), CAST("a_bigint_unsigned" AS varchar), CAST("a_bool" AS varchar), CAST("a_int" AS varchar), CAST("a_int_unsigned" AS varchar), CAST("a_mediumint" AS varchar), CAST("a_mediumint_unsigned" AS varchar), CAST("a_smallint" AS varchar), CAST("a_smallint_unsigned" AS varchar), CAST("a_tinyint" AS varchar), CAST("a_tinyint_unsigned" AS varchar), CAST("a_year" AS varchar), CAST("a_zerofill" AS varchar), CAST("b_bit" AS varchar), to_hex("b_bit_64"), CAST("d_decimal" AS varchar), CAST("d_decimal_38" AS varchar), CAST("d_decimal_65" AS varchar), CAST("f_double" AS varchar), CAST("f_float" AS varchar), to_hex("g_geometry"), CAST("id" AS varchar), CAST("s_char" AS varchar), CAST("s_enum" AS varchar), CAST("s_json" AS varchar), CAST("s_longtext" AS varchar), CAST("s_mediumtext" AS varchar), CAST("s_set" AS varchar), CAST("s_text" AS varchar), CAST("s_tinytext" AS varchar), CAST("s_varchar" AS varchar), CAST("t_date" AS varchar), CAST("t_datetime" AS varchar), CAST("t_datetime_3" AS varchar), CAST("t_datetime_6" AS varchar), CAST("t_time" AS varchar), CAST("t_timestamp" AS varchar), CAST("t_timestamp_6" AS varchar), CAST("v_vector" AS varchar), to_hex("y_binary"), to_hex("y_blob"), to_hex("y_longblob"), to_hex("y_mediumblob"), to_hex("y_tinyblob"), to_hex("y_varbinary")] AS json)))), '') AS fingerprint
FROM "lake"."zoo"."every-type"
GROUP BY 1;

SELECT 'Select' AS name, count(*) AS source_rows, coalesce(to_hex(checksum(json_format(CAST(ARRAY[CAST("größe" AS varchar), CAST("price" AS varchar)] AS json)))), '') AS fingerprint
FROM "lake"."zoo"."Select";

-- check partition (error): returns no rows
SELECT * FROM "lake"."zoo_marts"."days"
WHERE "day" IS NULL;
