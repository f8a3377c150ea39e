-- zoo-lake
SET 'execution.checkpointing.externalized-checkpoint-retention' = 'RETAIN_ON_CANCELLATION';
SET 'execution.checkpointing.interval' = '5 s';
SET 'execution.checkpointing.min-pause' = '3750 ms';
SET 'execution.checkpointing.mode' = 'EXACTLY_ONCE';
SET 'execution.checkpointing.tolerable-failed-checkpoints' = '10';
SET 'execution.runtime-mode' = 'STREAMING';
SET 'parallelism.default' = '1';
SET 'pipeline.name' = 'zoo-lake';
SET 'restart-strategy.exponential-delay.initial-backoff' = '1 s';
SET 'restart-strategy.exponential-delay.max-backoff' = '10 s';
SET 'restart-strategy.type' = 'exponential-delay';
SET 'state.checkpoints.dir' = 's3://lake/flink/checkpoints';
SET 'state.checkpoints.num-retained' = '3';
SET 'state.savepoints.dir' = 's3://lake/flink/savepoints';
SET 'table.exec.sink.upsert-materialize' = 'NONE';
SET 'table.local-time-zone' = 'UTC';

CREATE TEMPORARY SYSTEM FUNCTION IF NOT EXISTS source_position AS 'io.lakehouse.flink.SourcePosition' LANGUAGE JAVA;

CREATE CATALOG `lake` WITH (
  'type' = 'paimon',
  'warehouse' = '${PAIMON_WAREHOUSE}',
  's3.endpoint' = '${S3_ENDPOINT}',
  's3.access-key' = '${S3_ACCESS_KEY}',
  's3.secret-key' = '${S3_SECRET_KEY}',
  's3.path.style.access' = 'true'
);

CREATE DATABASE IF NOT EXISTS `lake`.`zoo`;

CREATE TABLE IF NOT EXISTS `lake`.`zoo`.`every-type` (
  `id` DECIMAL(20, 0) NOT NULL,
  `a_tinyint` INT,
  `a_tinyint_unsigned` INT,
  `a_bool` INT,
  `a_smallint` INT,
  `a_smallint_unsigned` INT,
  `a_mediumint` INT,
  `a_mediumint_unsigned` INT,
  `a_int` INT,
  `a_int_unsigned` BIGINT,
  `a_zerofill` BIGINT,
  `a_bigint` BIGINT,
  `a_bigint_unsigned` DECIMAL(20, 0),
  `a_year` INT,
  `d_decimal` DECIMAL(10, 2),
  `d_decimal_38` DECIMAL(38, 20),
  `d_decimal_65` STRING,
  `f_float` FLOAT,
  `f_double` DOUBLE,
  `b_bit` BOOLEAN,
  `b_bit_64` BYTES,
  `t_date` DATE,
  `t_datetime` TIMESTAMP(6),
  `t_datetime_3` TIMESTAMP(6),
  `t_datetime_6` TIMESTAMP(6),
  `t_timestamp` TIMESTAMP(6),
  `t_timestamp_6` TIMESTAMP(6),
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
  `_position` BIGINT,
  `_gtid` STRING,
  `_committed_at` TIMESTAMP(6),
  `_op` STRING,
  PRIMARY KEY (`id`) NOT ENFORCED
) WITH (
  'bucket' = '1',
  'sequence.field' = '_position',
  'rowkind.field' = '_op',
  'full-compaction.delta-commits' = '1',
  'metadata.iceberg.storage' = 'table-location',
  'metadata.iceberg.previous-versions-max' = '100',
  'snapshot.num-retained.max' = '200',
  'snapshot.expire.execution-mode' = 'async',
  'manifest.merge-min-count' = '5'
);

CREATE TABLE IF NOT EXISTS `lake`.`zoo`.`Select` (
  `from` STRING NOT NULL,
  `order` DATE,
  `group by` STRING,
  `größe` DECIMAL(20, 0),
  `price` DECIMAL(10, 2),
  `left-over` STRING,
  `_position` BIGINT,
  `_gtid` STRING,
  `_committed_at` TIMESTAMP(6),
  `_op` STRING,
  PRIMARY KEY (`from`) NOT ENFORCED
) WITH (
  'bucket' = '1',
  'sequence.field' = '_position',
  'rowkind.field' = '_op',
  'full-compaction.delta-commits' = '1',
  'metadata.iceberg.storage' = 'table-location',
  'metadata.iceberg.previous-versions-max' = '100',
  'snapshot.num-retained.max' = '200',
  'snapshot.expire.execution-mode' = 'async',
  'manifest.merge-min-count' = '5'
);

CREATE TABLE IF NOT EXISTS `lake`.`zoo`.`plain` (
  `b` INT NOT NULL,
  `a` TIMESTAMP(6) NOT NULL,
  `_position` BIGINT,
  `_gtid` STRING,
  `_committed_at` TIMESTAMP(6),
  `_op` STRING,
  PRIMARY KEY (`a`, `b`) NOT ENFORCED
) WITH (
  'bucket' = '1',
  'sequence.field' = '_position',
  'rowkind.field' = '_op',
  'full-compaction.delta-commits' = '1',
  'metadata.iceberg.storage' = 'table-location',
  'metadata.iceberg.previous-versions-max' = '100',
  'snapshot.num-retained.max' = '200',
  'snapshot.expire.execution-mode' = 'async',
  'manifest.merge-min-count' = '5'
);

CREATE TEMPORARY TABLE `source_every-type` (
  `id` DECIMAL(20, 0),
  `a_tinyint` INT,
  `a_tinyint_unsigned` INT,
  `a_bool` STRING,
  `a_smallint` INT,
  `a_smallint_unsigned` INT,
  `a_mediumint` INT,
  `a_mediumint_unsigned` INT,
  `a_int` INT,
  `a_int_unsigned` BIGINT,
  `a_zerofill` BIGINT,
  `a_bigint` BIGINT,
  `a_bigint_unsigned` DECIMAL(20, 0),
  `a_year` INT,
  `d_decimal` DECIMAL(10, 2),
  `d_decimal_38` DECIMAL(38, 20),
  `d_decimal_65` STRING,
  `f_float` FLOAT,
  `f_double` DOUBLE,
  `b_bit` BOOLEAN,
  `b_bit_64` BYTES,
  `t_date` STRING,
  `t_datetime` TIMESTAMP_LTZ(6),
  `t_datetime_3` TIMESTAMP_LTZ(6),
  `t_datetime_6` TIMESTAMP_LTZ(6),
  `t_timestamp` TIMESTAMP_LTZ(6),
  `t_timestamp_6` TIMESTAMP_LTZ(6),
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
  `__op` STRING,
  `__deleted` BOOLEAN,
  `__source_file` STRING,
  `__source_pos` BIGINT,
  `__source_row` BIGINT,
  `__source_gtid` STRING,
  `__source_ts_us` BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'zoo.zoo-db.every-type',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'zoo-lake',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'json',
  'json.fail-on-missing-field' = 'false',
  'json.ignore-parse-errors' = 'false',
  'json.timestamp-format.standard' = 'ISO-8601'
);

CREATE TEMPORARY TABLE `source_Select` (
  `from` STRING,
  `order` STRING,
  `group by` STRING,
  `größe` DECIMAL(20, 0),
  `price` DECIMAL(10, 2),
  `left-over` STRING,
  `__op` STRING,
  `__deleted` BOOLEAN,
  `__source_file` STRING,
  `__source_pos` BIGINT,
  `__source_row` BIGINT,
  `__source_gtid` STRING,
  `__source_ts_us` BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'zoo.zoo-db.Select',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'zoo-lake',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'json',
  'json.fail-on-missing-field' = 'false',
  'json.ignore-parse-errors' = 'false',
  'json.timestamp-format.standard' = 'ISO-8601'
);

CREATE TEMPORARY TABLE `source_plain` (
  `b` INT,
  `a` TIMESTAMP_LTZ(6),
  `__op` STRING,
  `__deleted` BOOLEAN,
  `__source_file` STRING,
  `__source_pos` BIGINT,
  `__source_row` BIGINT,
  `__source_gtid` STRING,
  `__source_ts_us` BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'zoo.zoo-db.plain',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'zoo-lake',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'json',
  'json.fail-on-missing-field' = 'false',
  'json.ignore-parse-errors' = 'false',
  'json.timestamp-format.standard' = 'ISO-8601'
);

BEGIN STATEMENT SET;

INSERT INTO `lake`.`zoo`.`every-type`
SELECT
  `id`,
  `a_tinyint`,
  `a_tinyint_unsigned`,
  CASE `a_bool` WHEN 'true' THEN 1 WHEN 'false' THEN 0 ELSE CAST(`a_bool` AS INT) END,
  `a_smallint`,
  `a_smallint_unsigned`,
  `a_mediumint`,
  `a_mediumint_unsigned`,
  `a_int`,
  `a_int_unsigned`,
  `a_zerofill`,
  `a_bigint`,
  `a_bigint_unsigned`,
  `a_year`,
  `d_decimal`,
  `d_decimal_38`,
  `d_decimal_65`,
  `f_float`,
  `f_double`,
  `b_bit`,
  `b_bit_64`,
  CAST(SUBSTRING(`t_date`, 1, 10) AS DATE),
  CAST(`t_datetime` AS TIMESTAMP(6)),
  CAST(`t_datetime_3` AS TIMESTAMP(6)),
  CAST(`t_datetime_6` AS TIMESTAMP(6)),
  CAST(`t_timestamp` AS TIMESTAMP(6)),
  CAST(`t_timestamp_6` AS TIMESTAMP(6)),
  `s_char`,
  `s_varchar`,
  `s_tinytext`,
  `s_text`,
  `s_mediumtext`,
  `s_longtext`,
  `s_enum`,
  `s_set`,
  `s_json`,
  `y_binary`,
  `y_varbinary`,
  `y_tinyblob`,
  `y_blob`,
  `y_mediumblob`,
  `y_longblob`,
  source_position(3, `__source_file`, `__source_pos`, `__source_row`),
  `__source_gtid`,
  CAST(CONCAT(CAST(TO_TIMESTAMP_LTZ(`__source_ts_us` / 1000, 3) AS STRING), LPAD(CAST(MOD(`__source_ts_us`, 1000) AS STRING), 3, '0')) AS TIMESTAMP(6)),
  CASE WHEN `__deleted` THEN '-D' ELSE '+I' END
FROM `source_every-type`;

INSERT INTO `lake`.`zoo`.`Select`
SELECT
  `from`,
  CAST(SUBSTRING(`order`, 1, 10) AS DATE),
  `group by`,
  `größe`,
  `price`,
  `left-over`,
  source_position(3, `__source_file`, `__source_pos`, `__source_row`),
  `__source_gtid`,
  CAST(CONCAT(CAST(TO_TIMESTAMP_LTZ(`__source_ts_us` / 1000, 3) AS STRING), LPAD(CAST(MOD(`__source_ts_us`, 1000) AS STRING), 3, '0')) AS TIMESTAMP(6)),
  CASE WHEN `__deleted` THEN '-D' ELSE '+I' END
FROM `source_Select`;

INSERT INTO `lake`.`zoo`.`plain`
SELECT
  `b`,
  CAST(`a` AS TIMESTAMP(6)),
  source_position(3, `__source_file`, `__source_pos`, `__source_row`),
  `__source_gtid`,
  CAST(CONCAT(CAST(TO_TIMESTAMP_LTZ(`__source_ts_us` / 1000, 3) AS STRING), LPAD(CAST(MOD(`__source_ts_us`, 1000) AS STRING), 3, '0')) AS TIMESTAMP(6)),
  CASE WHEN `__deleted` THEN '-D' ELSE '+I' END
FROM `source_plain`;

END;
