-- zoo-proof
SET 'execution.runtime-mode' = 'BATCH';
SET 'parallelism.default' = '1';
SET 'pipeline.name' = 'zoo-proof';
SET 'table.local-time-zone' = 'UTC';

CREATE CATALOG `lake` WITH (
  'type' = 'paimon',
  'warehouse' = '${PAIMON_WAREHOUSE}',
  's3.endpoint' = '${S3_ENDPOINT}',
  's3.access-key' = '${S3_ACCESS_KEY}',
  's3.secret-key' = '${S3_SECRET_KEY}',
  's3.path.style.access' = 'true'
);

CREATE TEMPORARY TABLE `proof_every-type` (
  `id` STRING,
  `a_tinyint` STRING,
  `a_tinyint_unsigned` STRING,
  `a_bool` STRING,
  `a_smallint` STRING,
  `a_smallint_unsigned` STRING,
  `a_mediumint` STRING,
  `a_mediumint_unsigned` STRING,
  `a_int` STRING,
  `a_int_unsigned` STRING,
  `a_zerofill` STRING,
  `a_bigint` STRING,
  `a_bigint_unsigned` STRING,
  `a_year` STRING,
  `d_decimal` STRING,
  `d_decimal_38` STRING,
  `d_decimal_65` STRING,
  `f_float` STRING,
  `f_double` STRING,
  `b_bit` STRING,
  `b_bit_64` BYTES,
  `t_date` STRING,
  `t_datetime` STRING,
  `t_datetime_3` STRING,
  `t_datetime_6` STRING,
  `t_timestamp` STRING,
  `t_timestamp_6` STRING,
  `s_char` STRING,
  `s_varchar` STRING,
  `s_tinytext` STRING,
  `s_text` STRING,
  `s_mediumtext` STRING,
  `s_longtext` STRING,
  `s_enum` STRING,
  `s_set` STRING,
  `s_json` STRING,
  `y_binary` BYTES,
  `y_varbinary` BYTES,
  `y_tinyblob` BYTES,
  `y_blob` BYTES,
  `y_mediumblob` BYTES,
  `y_longblob` BYTES,
  `t_time` STRING,
  `g_geometry` BYTES,
  `v_vector` STRING,
  `_position` STRING
) WITH (
  'connector' = 'filesystem',
  'path' = 's3://lake/proof/00000000/every-type',
  'format' = 'json'
);

CREATE TEMPORARY TABLE `proof_Select` (
  `from` STRING,
  `order` STRING,
  `group by` STRING,
  `größe` STRING,
  `price` STRING,
  `left-over` STRING,
  `_position` STRING
) WITH (
  'connector' = 'filesystem',
  'path' = 's3://lake/proof/00000000/Select',
  'format' = 'json'
);

CREATE TEMPORARY TABLE `proof_plain` (
  `b` STRING,
  `a` STRING,
  `_position` STRING
) WITH (
  'connector' = 'filesystem',
  'path' = 's3://lake/proof/00000000/plain',
  'format' = 'json'
);

BEGIN STATEMENT SET;

INSERT INTO `proof_every-type`
SELECT
  CAST(r.`id` AS STRING),
  CAST(r.`a_tinyint` AS STRING),
  CAST(r.`a_tinyint_unsigned` AS STRING),
  CAST(r.`a_bool` AS STRING),
  CAST(r.`a_smallint` AS STRING),
  CAST(r.`a_smallint_unsigned` AS STRING),
  CAST(r.`a_mediumint` AS STRING),
  CAST(r.`a_mediumint_unsigned` AS STRING),
  CAST(r.`a_int` AS STRING),
  CAST(r.`a_int_unsigned` AS STRING),
  CAST(r.`a_zerofill` AS STRING),
  CAST(r.`a_bigint` AS STRING),
  CAST(r.`a_bigint_unsigned` AS STRING),
  CAST(r.`a_year` AS STRING),
  CAST(r.`d_decimal` AS STRING),
  CAST(r.`d_decimal_38` AS STRING),
  CAST(r.`d_decimal_65` AS STRING),
  CAST(r.`f_float` AS STRING),
  CAST(r.`f_double` AS STRING),
  CAST(r.`b_bit` AS STRING),
  r.`b_bit_64`,
  CAST(r.`t_date` AS STRING),
  CAST(r.`t_datetime` AS STRING),
  CAST(r.`t_datetime_3` AS STRING),
  CAST(r.`t_datetime_6` AS STRING),
  CAST(r.`t_timestamp` AS STRING),
  CAST(r.`t_timestamp_6` AS STRING),
  CAST(r.`s_char` AS STRING),
  CAST(r.`s_varchar` AS STRING),
  CAST(r.`s_tinytext` AS STRING),
  CAST(r.`s_text` AS STRING),
  CAST(r.`s_mediumtext` AS STRING),
  CAST(r.`s_longtext` AS STRING),
  CAST(r.`s_enum` AS STRING),
  CAST(r.`s_set` AS STRING),
  CAST(r.`s_json` AS STRING),
  r.`y_binary`,
  r.`y_varbinary`,
  r.`y_tinyblob`,
  r.`y_blob`,
  r.`y_mediumblob`,
  r.`y_longblob`,
  CAST(r.`t_time` AS STRING),
  r.`g_geometry`,
  CAST(r.`v_vector` AS STRING),
  CAST(r.`_position` AS STRING)
FROM `lake`.`zoo`.`every-type` AS r;

INSERT INTO `proof_Select`
SELECT
  CAST(r.`from` AS STRING),
  CAST(r.`order` AS STRING),
  CAST(r.`group by` AS STRING),
  CAST(r.`größe` AS STRING),
  CAST(r.`price` AS STRING),
  CAST(r.`left-over` AS STRING),
  CAST(r.`_position` AS STRING)
FROM `lake`.`zoo`.`Select` AS r;

INSERT INTO `proof_plain`
SELECT
  CAST(r.`b` AS STRING),
  CAST(r.`a` AS STRING),
  CAST(r.`_position` AS STRING)
FROM `lake`.`zoo`.`plain` AS r;

END;
