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
  `t_time` BIGINT,
  `g_geometry` BYTES,
  `v_vector` ARRAY<FLOAT>,
  `_position` BIGINT,
  `_gtid` STRING,
  `_committed_at` TIMESTAMP(6),
  `_op` STRING,
  PRIMARY KEY (`id`) NOT ENFORCED
) WITH (
  'sequence.field' = '_position',
  'rowkind.field' = '_op',
  'bucket' = '1',
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
  'sequence.field' = '_position',
  'rowkind.field' = '_op',
  'bucket' = '1',
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
  'sequence.field' = '_position',
  'rowkind.field' = '_op',
  'bucket' = '1',
  'full-compaction.delta-commits' = '1',
  'metadata.iceberg.storage' = 'table-location',
  'metadata.iceberg.previous-versions-max' = '100',
  'snapshot.num-retained.max' = '200',
  'snapshot.expire.execution-mode' = 'async',
  'manifest.merge-min-count' = '5'
);

CREATE TABLE IF NOT EXISTS `lake`.`zoo`.`_quarantine` (
  `topic` STRING NOT NULL,
  `partition` INT NOT NULL,
  `offset` BIGINT NOT NULL,
  `reason` STRING,
  `record_key` BYTES,
  `raw` BYTES,
  `recorded_at` TIMESTAMP(6),
  PRIMARY KEY (`topic`, `partition`, `offset`) NOT ENFORCED
) WITH (
  'bucket' = '1',
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
  `t_time` BIGINT,
  `g_geometry` BYTES,
  `v_vector` ARRAY<FLOAT>,
  `__op` STRING,
  `__deleted` BOOLEAN,
  `__source_file` STRING,
  `__source_pos` BIGINT,
  `__source_row` BIGINT,
  `__source_gtid` STRING,
  `__source_ts_us` BIGINT,
  `__source_epoch` INT,
  `__error` STRING,
  `__raw` BYTES,
  `__topic` STRING METADATA FROM 'topic' VIRTUAL,
  `__partition` INT METADATA FROM 'partition' VIRTUAL,
  `__offset` BIGINT METADATA FROM 'offset' VIRTUAL,
  `__timestamp` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  `__key` BYTES
) WITH (
  'connector' = 'kafka',
  'topic' = 'zoo.zoo-db.every-type',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'zoo-lake',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'lakehouse-record',
  'lakehouse-record.columns' = '{"id":"integer","a_tinyint":"integer","a_tinyint_unsigned":"integer","a_bool":"boolean_integer","a_smallint":"integer","a_smallint_unsigned":"integer","a_mediumint":"integer","a_mediumint_unsigned":"integer","a_int":"integer","a_int_unsigned":"integer","a_zerofill":"integer","a_bigint":"integer","a_bigint_unsigned":"integer","a_year":"integer","d_decimal":"decimal","d_decimal_38":"decimal","d_decimal_65":"decimal_text","f_float":"float","f_double":"double","b_bit":"boolean","b_bit_64":"bits:8","t_date":"date","t_datetime":"timestamp","t_datetime_3":"timestamp","t_datetime_6":"timestamp","t_timestamp":"timestamp","t_timestamp_6":"timestamp","s_char":"text","s_varchar":"text","s_tinytext":"text","s_text":"text","s_mediumtext":"text","s_longtext":"text","s_enum":"text","s_set":"text","s_json":"json","y_binary":"bytes","y_varbinary":"bytes","y_tinyblob":"bytes","y_blob":"bytes","y_mediumblob":"bytes","y_longblob":"bytes","t_time":"time","g_geometry":"geometry","v_vector":"vector"}',
  'lakehouse-record.required' = '["id"]',
  'key.format' = 'raw',
  'key.fields' = '__key',
  'value.fields-include' = 'EXCEPT_KEY'
);

CREATE TEMPORARY TABLE `source_Select` (
  `from` STRING,
  `order` DATE,
  `group by` STRING,
  `größe` DECIMAL(20, 0),
  `price` DECIMAL(10, 2),
  `left-over` STRING,
  `__before_order` DATE,
  `__before_group by` STRING,
  `__before_größe` DECIMAL(20, 0),
  `__op` STRING,
  `__deleted` BOOLEAN,
  `__source_file` STRING,
  `__source_pos` BIGINT,
  `__source_row` BIGINT,
  `__source_gtid` STRING,
  `__source_ts_us` BIGINT,
  `__source_epoch` INT,
  `__error` STRING,
  `__raw` BYTES,
  `__topic` STRING METADATA FROM 'topic' VIRTUAL,
  `__partition` INT METADATA FROM 'partition' VIRTUAL,
  `__offset` BIGINT METADATA FROM 'offset' VIRTUAL,
  `__timestamp` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  `__key` BYTES
) WITH (
  'connector' = 'kafka',
  'topic' = 'zoo.zoo-db.Select',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'zoo-lake',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'lakehouse-record',
  'lakehouse-record.columns' = '{"from":"text","order":"date","group by":"text","größe":"integer","price":"decimal","left-over":"text","__before_order":"date","__before_group by":"text","__before_größe":"integer"}',
  'lakehouse-record.required' = '["from"]',
  'key.format' = 'raw',
  'key.fields' = '__key',
  'value.fields-include' = 'EXCEPT_KEY'
);

CREATE TEMPORARY TABLE `source_plain` (
  `b` INT,
  `a` TIMESTAMP(6),
  `__op` STRING,
  `__deleted` BOOLEAN,
  `__source_file` STRING,
  `__source_pos` BIGINT,
  `__source_row` BIGINT,
  `__source_gtid` STRING,
  `__source_ts_us` BIGINT,
  `__source_epoch` INT,
  `__error` STRING,
  `__raw` BYTES,
  `__topic` STRING METADATA FROM 'topic' VIRTUAL,
  `__partition` INT METADATA FROM 'partition' VIRTUAL,
  `__offset` BIGINT METADATA FROM 'offset' VIRTUAL,
  `__timestamp` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  `__key` BYTES
) WITH (
  'connector' = 'kafka',
  'topic' = 'zoo.zoo-db.plain',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'zoo-lake',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'lakehouse-record',
  'lakehouse-record.columns' = '{"b":"integer","a":"timestamp"}',
  'lakehouse-record.required' = '["a","b"]',
  'key.format' = 'raw',
  'key.fields' = '__key',
  'value.fields-include' = 'EXCEPT_KEY'
);

CREATE TEMPORARY TABLE `dead_letters` (
  `record_key` BYTES,
  `raw` BYTES,
  `headers` MAP<STRING, BYTES> METADATA
) WITH (
  'connector' = 'kafka',
  'topic' = 'zoo.dead-letter',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.max.request.size' = '26214400',
  'key.format' = 'raw',
  'key.fields' = 'record_key',
  'value.format' = 'raw',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'at-least-once'
);

BEGIN STATEMENT SET;

INSERT INTO `lake`.`zoo`.`every-type` (`id`, `a_tinyint`, `a_tinyint_unsigned`, `a_bool`, `a_smallint`, `a_smallint_unsigned`, `a_mediumint`, `a_mediumint_unsigned`, `a_int`, `a_int_unsigned`, `a_zerofill`, `a_bigint`, `a_bigint_unsigned`, `a_year`, `d_decimal`, `d_decimal_38`, `d_decimal_65`, `f_float`, `f_double`, `b_bit`, `b_bit_64`, `t_date`, `t_datetime`, `t_datetime_3`, `t_datetime_6`, `t_timestamp`, `t_timestamp_6`, `s_char`, `s_varchar`, `s_tinytext`, `s_text`, `s_mediumtext`, `s_longtext`, `s_enum`, `s_set`, `s_json`, `y_binary`, `y_varbinary`, `y_tinyblob`, `y_blob`, `y_mediumblob`, `y_longblob`, `t_time`, `g_geometry`, `v_vector`, `_position`, `_gtid`, `_committed_at`, `_op`)
SELECT
  `id`,
  `a_tinyint`,
  `a_tinyint_unsigned`,
  `a_bool`,
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
  `t_date`,
  `t_datetime`,
  `t_datetime_3`,
  `t_datetime_6`,
  `t_timestamp`,
  `t_timestamp_6`,
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
  `t_time`,
  `g_geometry`,
  `v_vector`,
  source_position(COALESCE(`__source_epoch`, 0), `__source_file`, `__source_pos`, `__source_row`),
  `__source_gtid`,
  CAST(CONCAT(CAST(TO_TIMESTAMP_LTZ(`__source_ts_us` / 1000, 3) AS STRING), LPAD(CAST(MOD(`__source_ts_us`, 1000) AS STRING), 3, '0')) AS TIMESTAMP(6)),
  CASE WHEN `__deleted` THEN '-D' ELSE '+I' END
FROM `source_every-type`
WHERE `__error` IS NULL;

INSERT INTO `lake`.`zoo`.`Select` (`from`, `order`, `group by`, `größe`, `price`, `left-over`, `_position`, `_gtid`, `_committed_at`, `_op`)
SELECT
  `from`,
  `order`,
  `group by`,
  `größe`,
  `price`,
  `left-over`,
  source_position(COALESCE(`__source_epoch`, 0), `__source_file`, `__source_pos`, `__source_row`),
  `__source_gtid`,
  CAST(CONCAT(CAST(TO_TIMESTAMP_LTZ(`__source_ts_us` / 1000, 3) AS STRING), LPAD(CAST(MOD(`__source_ts_us`, 1000) AS STRING), 3, '0')) AS TIMESTAMP(6)),
  CASE WHEN `__deleted` THEN '-D' ELSE '+I' END
FROM `source_Select`
WHERE `__error` IS NULL;

INSERT INTO `lake`.`zoo`.`plain` (`b`, `a`, `_position`, `_gtid`, `_committed_at`, `_op`)
SELECT
  `b`,
  `a`,
  source_position(COALESCE(`__source_epoch`, 0), `__source_file`, `__source_pos`, `__source_row`),
  `__source_gtid`,
  CAST(CONCAT(CAST(TO_TIMESTAMP_LTZ(`__source_ts_us` / 1000, 3) AS STRING), LPAD(CAST(MOD(`__source_ts_us`, 1000) AS STRING), 3, '0')) AS TIMESTAMP(6)),
  CASE WHEN `__deleted` THEN '-D' ELSE '+I' END
FROM `source_plain`
WHERE `__error` IS NULL;

INSERT INTO `lake`.`zoo`.`_quarantine`
SELECT
  `__topic`,
  `__partition`,
  `__offset`,
  `__error`,
  `__key`,
  `__raw`,
  CAST(`__timestamp` AS TIMESTAMP(6))
FROM `source_every-type`
WHERE NOT (`__error` IS NULL)
UNION ALL
SELECT
  `__topic`,
  `__partition`,
  `__offset`,
  `__error`,
  `__key`,
  `__raw`,
  CAST(`__timestamp` AS TIMESTAMP(6))
FROM `source_Select`
WHERE NOT (`__error` IS NULL)
UNION ALL
SELECT
  `__topic`,
  `__partition`,
  `__offset`,
  `__error`,
  `__key`,
  `__raw`,
  CAST(`__timestamp` AS TIMESTAMP(6))
FROM `source_plain`
WHERE NOT (`__error` IS NULL);

INSERT INTO `dead_letters`
SELECT
  `__key`,
  `__raw`,
  MAP['reason', CAST(`__error` AS BYTES), 'topic', CAST(`__topic` AS BYTES), 'partition', CAST(CAST(`__partition` AS STRING) AS BYTES), 'offset', CAST(CAST(`__offset` AS STRING) AS BYTES)]
FROM `source_every-type`
WHERE NOT (`__error` IS NULL)
UNION ALL
SELECT
  `__key`,
  `__raw`,
  MAP['reason', CAST(`__error` AS BYTES), 'topic', CAST(`__topic` AS BYTES), 'partition', CAST(CAST(`__partition` AS STRING) AS BYTES), 'offset', CAST(CAST(`__offset` AS STRING) AS BYTES)]
FROM `source_Select`
WHERE NOT (`__error` IS NULL)
UNION ALL
SELECT
  `__key`,
  `__raw`,
  MAP['reason', CAST(`__error` AS BYTES), 'topic', CAST(`__topic` AS BYTES), 'partition', CAST(CAST(`__partition` AS STRING) AS BYTES), 'offset', CAST(CAST(`__offset` AS STRING) AS BYTES)]
FROM `source_plain`
WHERE NOT (`__error` IS NULL);

END;
