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
  `y_longblob` BYTES
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
  `left-over` STRING
) WITH (
  'connector' = 'filesystem',
  'path' = 's3://lake/proof/00000000/Select',
  'format' = 'json'
);

CREATE TEMPORARY TABLE `proof_plain` (
  `b` STRING,
  `a` STRING
) WITH (
  'connector' = 'filesystem',
  'path' = 's3://lake/proof/00000000/plain',
  'format' = 'json'
);

BEGIN STATEMENT SET;

INSERT INTO `proof_every-type`
SELECT
  CAST(`id` AS STRING),
  CAST(`a_tinyint` AS STRING),
  CAST(`a_tinyint_unsigned` AS STRING),
  CAST(`a_bool` AS STRING),
  CAST(`a_smallint` AS STRING),
  CAST(`a_smallint_unsigned` AS STRING),
  CAST(`a_mediumint` AS STRING),
  CAST(`a_mediumint_unsigned` AS STRING),
  CAST(`a_int` AS STRING),
  CAST(`a_int_unsigned` AS STRING),
  CAST(`a_zerofill` AS STRING),
  CAST(`a_bigint` AS STRING),
  CAST(`a_bigint_unsigned` AS STRING),
  CAST(`a_year` AS STRING),
  CAST(`d_decimal` AS STRING),
  CAST(`d_decimal_38` AS STRING),
  CAST(`d_decimal_65` AS STRING),
  CAST(`f_float` AS STRING),
  CAST(`f_double` AS STRING),
  CAST(`b_bit` AS STRING),
  `b_bit_64`,
  CAST(`t_date` AS STRING),
  CAST(`t_datetime` AS STRING),
  CAST(`t_datetime_3` AS STRING),
  CAST(`t_datetime_6` AS STRING),
  CAST(`t_timestamp` AS STRING),
  CAST(`t_timestamp_6` AS STRING),
  CAST(`s_char` AS STRING),
  CAST(`s_varchar` AS STRING),
  CAST(`s_tinytext` AS STRING),
  CAST(`s_text` AS STRING),
  CAST(`s_mediumtext` AS STRING),
  CAST(`s_longtext` AS STRING),
  CAST(`s_enum` AS STRING),
  CAST(`s_set` AS STRING),
  CAST(`s_json` AS STRING),
  `y_binary`,
  `y_varbinary`,
  `y_tinyblob`,
  `y_blob`,
  `y_mediumblob`,
  `y_longblob`
FROM `lake`.`zoo`.`every-type`;

INSERT INTO `proof_Select`
SELECT
  CAST(`from` AS STRING),
  CAST(`order` AS STRING),
  CAST(`group by` AS STRING),
  CAST(`größe` AS STRING),
  CAST(`price` AS STRING),
  CAST(`left-over` AS STRING)
FROM `lake`.`zoo`.`Select`;

INSERT INTO `proof_plain`
SELECT
  CAST(`b` AS STRING),
  CAST(`a` AS STRING)
FROM `lake`.`zoo`.`plain`;

END;
