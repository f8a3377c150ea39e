-- flights-lake
SET 'execution.checkpointing.externalized-checkpoint-retention' = 'RETAIN_ON_CANCELLATION';
SET 'execution.checkpointing.interval' = '2 s';
SET 'execution.checkpointing.min-pause' = '1500 ms';
SET 'execution.checkpointing.mode' = 'EXACTLY_ONCE';
SET 'execution.checkpointing.tolerable-failed-checkpoints' = '10';
SET 'execution.runtime-mode' = 'STREAMING';
SET 'parallelism.default' = '1';
SET 'pipeline.name' = 'flights-lake';
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

CREATE DATABASE IF NOT EXISTS `lake`.`flights`;

CREATE TABLE IF NOT EXISTS `lake`.`flights`.`flights` (
  `id` BIGINT NOT NULL,
  `carrier` STRING,
  `flight` INT,
  `tailnum` STRING,
  `origin` STRING,
  `dest` STRING,
  `flight_date` DATE,
  `scheduled_departure` TIMESTAMP(6),
  `scheduled_arrival` TIMESTAMP(6),
  `departs_at` TIMESTAMP(6),
  `departed_at` TIMESTAMP(6),
  `arrived_at` TIMESTAMP(6),
  `dep_delay` INT,
  `arr_delay` INT,
  `air_time` INT,
  `distance` INT,
  `status` STRING,
  `updated_at` TIMESTAMP(6),
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

CREATE TABLE IF NOT EXISTS `lake`.`flights`.`airlines` (
  `carrier` STRING NOT NULL,
  `name` STRING,
  `_position` BIGINT,
  `_gtid` STRING,
  `_committed_at` TIMESTAMP(6),
  `_op` STRING,
  PRIMARY KEY (`carrier`) NOT ENFORCED
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

CREATE TABLE IF NOT EXISTS `lake`.`flights`.`airports` (
  `faa` STRING NOT NULL,
  `name` STRING,
  `lat` DOUBLE,
  `lon` DOUBLE,
  `alt` INT,
  `tz` INT,
  `dst` STRING,
  `tzone` STRING,
  `_position` BIGINT,
  `_gtid` STRING,
  `_committed_at` TIMESTAMP(6),
  `_op` STRING,
  PRIMARY KEY (`faa`) NOT ENFORCED
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

CREATE TABLE IF NOT EXISTS `lake`.`flights`.`planes` (
  `tailnum` STRING NOT NULL,
  `year` INT,
  `type` STRING,
  `manufacturer` STRING,
  `model` STRING,
  `engines` INT,
  `seats` INT,
  `speed` INT,
  `engine` STRING,
  `_position` BIGINT,
  `_gtid` STRING,
  `_committed_at` TIMESTAMP(6),
  `_op` STRING,
  PRIMARY KEY (`tailnum`) NOT ENFORCED
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

CREATE TABLE IF NOT EXISTS `lake`.`flights`.`weather` (
  `origin` STRING NOT NULL,
  `observed_at` TIMESTAMP(6) NOT NULL,
  `temp` DECIMAL(5, 2),
  `dewp` DECIMAL(5, 2),
  `humid` DECIMAL(5, 2),
  `wind_dir` INT,
  `wind_speed` DOUBLE,
  `wind_gust` DOUBLE,
  `precip` DECIMAL(5, 2),
  `pressure` DECIMAL(6, 1),
  `visib` DECIMAL(5, 2),
  `_position` BIGINT,
  `_gtid` STRING,
  `_committed_at` TIMESTAMP(6),
  `_op` STRING,
  PRIMARY KEY (`origin`, `observed_at`) NOT ENFORCED
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

CREATE TABLE IF NOT EXISTS `lake`.`flights`.`freshness_probe` (
  `id` INT NOT NULL,
  `beat` BIGINT,
  `written_at` TIMESTAMP(6),
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

CREATE TABLE IF NOT EXISTS `lake`.`flights`.`_quarantine` (
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

CREATE TEMPORARY TABLE `source_flights` (
  `id` BIGINT,
  `carrier` STRING,
  `flight` INT,
  `tailnum` STRING,
  `origin` STRING,
  `dest` STRING,
  `flight_date` DATE,
  `scheduled_departure` TIMESTAMP(6),
  `scheduled_arrival` TIMESTAMP(6),
  `departs_at` TIMESTAMP(6),
  `departed_at` TIMESTAMP(6),
  `arrived_at` TIMESTAMP(6),
  `dep_delay` INT,
  `arr_delay` INT,
  `air_time` INT,
  `distance` INT,
  `status` STRING,
  `updated_at` TIMESTAMP(6),
  `__before_carrier` STRING,
  `__before_flight` INT,
  `__before_origin` STRING,
  `__before_flight_date` DATE,
  `__before_departs_at` TIMESTAMP(6),
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
  'topic' = 'flights.airline.flights',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'flights-lake',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'lakehouse-record',
  'lakehouse-record.columns' = '{"id":"integer","carrier":"text","flight":"integer","tailnum":"text","origin":"text","dest":"text","flight_date":"date","scheduled_departure":"timestamp","scheduled_arrival":"timestamp","departs_at":"timestamp","departed_at":"timestamp","arrived_at":"timestamp","dep_delay":"integer","arr_delay":"integer","air_time":"integer","distance":"integer","status":"text","updated_at":"timestamp","__before_carrier":"text","__before_flight":"integer","__before_origin":"text","__before_flight_date":"date","__before_departs_at":"timestamp"}',
  'lakehouse-record.required' = '["id"]',
  'key.format' = 'raw',
  'key.fields' = '__key',
  'value.fields-include' = 'EXCEPT_KEY'
);

CREATE TEMPORARY TABLE `source_airlines` (
  `carrier` STRING,
  `name` STRING,
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
  'topic' = 'flights.airline.airlines',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'flights-lake',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'lakehouse-record',
  'lakehouse-record.columns' = '{"carrier":"text","name":"text"}',
  'lakehouse-record.required' = '["carrier"]',
  'key.format' = 'raw',
  'key.fields' = '__key',
  'value.fields-include' = 'EXCEPT_KEY'
);

CREATE TEMPORARY TABLE `source_airports` (
  `faa` STRING,
  `name` STRING,
  `lat` DOUBLE,
  `lon` DOUBLE,
  `alt` INT,
  `tz` INT,
  `dst` STRING,
  `tzone` STRING,
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
  'topic' = 'flights.airline.airports',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'flights-lake',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'lakehouse-record',
  'lakehouse-record.columns' = '{"faa":"text","name":"text","lat":"double","lon":"double","alt":"integer","tz":"integer","dst":"text","tzone":"text"}',
  'lakehouse-record.required' = '["faa"]',
  'key.format' = 'raw',
  'key.fields' = '__key',
  'value.fields-include' = 'EXCEPT_KEY'
);

CREATE TEMPORARY TABLE `source_planes` (
  `tailnum` STRING,
  `year` INT,
  `type` STRING,
  `manufacturer` STRING,
  `model` STRING,
  `engines` INT,
  `seats` INT,
  `speed` INT,
  `engine` STRING,
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
  'topic' = 'flights.airline.planes',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'flights-lake',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'lakehouse-record',
  'lakehouse-record.columns' = '{"tailnum":"text","year":"integer","type":"text","manufacturer":"text","model":"text","engines":"integer","seats":"integer","speed":"integer","engine":"text"}',
  'lakehouse-record.required' = '["tailnum"]',
  'key.format' = 'raw',
  'key.fields' = '__key',
  'value.fields-include' = 'EXCEPT_KEY'
);

CREATE TEMPORARY TABLE `source_weather` (
  `origin` STRING,
  `observed_at` TIMESTAMP(6),
  `temp` DECIMAL(5, 2),
  `dewp` DECIMAL(5, 2),
  `humid` DECIMAL(5, 2),
  `wind_dir` INT,
  `wind_speed` DOUBLE,
  `wind_gust` DOUBLE,
  `precip` DECIMAL(5, 2),
  `pressure` DECIMAL(6, 1),
  `visib` DECIMAL(5, 2),
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
  'topic' = 'flights.airline.weather',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'flights-lake',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'lakehouse-record',
  'lakehouse-record.columns' = '{"origin":"text","observed_at":"timestamp","temp":"decimal","dewp":"decimal","humid":"decimal","wind_dir":"integer","wind_speed":"double","wind_gust":"double","precip":"decimal","pressure":"decimal","visib":"decimal"}',
  'lakehouse-record.required' = '["origin","observed_at"]',
  'key.format' = 'raw',
  'key.fields' = '__key',
  'value.fields-include' = 'EXCEPT_KEY'
);

CREATE TEMPORARY TABLE `source_freshness_probe` (
  `id` INT,
  `beat` BIGINT,
  `written_at` TIMESTAMP(6),
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
  'topic' = 'flights.airline.freshness_probe',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'flights-lake',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'lakehouse-record',
  'lakehouse-record.columns' = '{"id":"integer","beat":"integer","written_at":"timestamp"}',
  'lakehouse-record.required' = '["id"]',
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
  'topic' = 'flights.dead-letter',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.max.request.size' = '26214400',
  'key.format' = 'raw',
  'key.fields' = 'record_key',
  'value.format' = 'raw',
  'value.fields-include' = 'EXCEPT_KEY',
  'sink.delivery-guarantee' = 'at-least-once'
);

BEGIN STATEMENT SET;

INSERT INTO `lake`.`flights`.`flights` (`id`, `carrier`, `flight`, `tailnum`, `origin`, `dest`, `flight_date`, `scheduled_departure`, `scheduled_arrival`, `departs_at`, `departed_at`, `arrived_at`, `dep_delay`, `arr_delay`, `air_time`, `distance`, `status`, `updated_at`, `_position`, `_gtid`, `_committed_at`, `_op`)
SELECT
  `id`,
  `carrier`,
  `flight`,
  `tailnum`,
  `origin`,
  `dest`,
  `flight_date`,
  `scheduled_departure`,
  `scheduled_arrival`,
  `departs_at`,
  `departed_at`,
  `arrived_at`,
  `dep_delay`,
  `arr_delay`,
  `air_time`,
  `distance`,
  `status`,
  `updated_at`,
  source_position(COALESCE(`__source_epoch`, 0), `__source_file`, `__source_pos`, `__source_row`),
  `__source_gtid`,
  CAST(CONCAT(CAST(TO_TIMESTAMP_LTZ(`__source_ts_us` / 1000, 3) AS STRING), LPAD(CAST(MOD(`__source_ts_us`, 1000) AS STRING), 3, '0')) AS TIMESTAMP(6)),
  CASE WHEN `__deleted` THEN '-D' ELSE '+I' END
FROM `source_flights`
WHERE `__error` IS NULL;

INSERT INTO `lake`.`flights`.`airlines` (`carrier`, `name`, `_position`, `_gtid`, `_committed_at`, `_op`)
SELECT
  `carrier`,
  `name`,
  source_position(COALESCE(`__source_epoch`, 0), `__source_file`, `__source_pos`, `__source_row`),
  `__source_gtid`,
  CAST(CONCAT(CAST(TO_TIMESTAMP_LTZ(`__source_ts_us` / 1000, 3) AS STRING), LPAD(CAST(MOD(`__source_ts_us`, 1000) AS STRING), 3, '0')) AS TIMESTAMP(6)),
  CASE WHEN `__deleted` THEN '-D' ELSE '+I' END
FROM `source_airlines`
WHERE `__error` IS NULL;

INSERT INTO `lake`.`flights`.`airports` (`faa`, `name`, `lat`, `lon`, `alt`, `tz`, `dst`, `tzone`, `_position`, `_gtid`, `_committed_at`, `_op`)
SELECT
  `faa`,
  `name`,
  `lat`,
  `lon`,
  `alt`,
  `tz`,
  `dst`,
  `tzone`,
  source_position(COALESCE(`__source_epoch`, 0), `__source_file`, `__source_pos`, `__source_row`),
  `__source_gtid`,
  CAST(CONCAT(CAST(TO_TIMESTAMP_LTZ(`__source_ts_us` / 1000, 3) AS STRING), LPAD(CAST(MOD(`__source_ts_us`, 1000) AS STRING), 3, '0')) AS TIMESTAMP(6)),
  CASE WHEN `__deleted` THEN '-D' ELSE '+I' END
FROM `source_airports`
WHERE `__error` IS NULL;

INSERT INTO `lake`.`flights`.`planes` (`tailnum`, `year`, `type`, `manufacturer`, `model`, `engines`, `seats`, `speed`, `engine`, `_position`, `_gtid`, `_committed_at`, `_op`)
SELECT
  `tailnum`,
  `year`,
  `type`,
  `manufacturer`,
  `model`,
  `engines`,
  `seats`,
  `speed`,
  `engine`,
  source_position(COALESCE(`__source_epoch`, 0), `__source_file`, `__source_pos`, `__source_row`),
  `__source_gtid`,
  CAST(CONCAT(CAST(TO_TIMESTAMP_LTZ(`__source_ts_us` / 1000, 3) AS STRING), LPAD(CAST(MOD(`__source_ts_us`, 1000) AS STRING), 3, '0')) AS TIMESTAMP(6)),
  CASE WHEN `__deleted` THEN '-D' ELSE '+I' END
FROM `source_planes`
WHERE `__error` IS NULL;

INSERT INTO `lake`.`flights`.`weather` (`origin`, `observed_at`, `temp`, `dewp`, `humid`, `wind_dir`, `wind_speed`, `wind_gust`, `precip`, `pressure`, `visib`, `_position`, `_gtid`, `_committed_at`, `_op`)
SELECT
  `origin`,
  `observed_at`,
  `temp`,
  `dewp`,
  `humid`,
  `wind_dir`,
  `wind_speed`,
  `wind_gust`,
  `precip`,
  `pressure`,
  `visib`,
  source_position(COALESCE(`__source_epoch`, 0), `__source_file`, `__source_pos`, `__source_row`),
  `__source_gtid`,
  CAST(CONCAT(CAST(TO_TIMESTAMP_LTZ(`__source_ts_us` / 1000, 3) AS STRING), LPAD(CAST(MOD(`__source_ts_us`, 1000) AS STRING), 3, '0')) AS TIMESTAMP(6)),
  CASE WHEN `__deleted` THEN '-D' ELSE '+I' END
FROM `source_weather`
WHERE `__error` IS NULL;

INSERT INTO `lake`.`flights`.`freshness_probe` (`id`, `beat`, `written_at`, `_position`, `_gtid`, `_committed_at`, `_op`)
SELECT
  `id`,
  `beat`,
  `written_at`,
  source_position(COALESCE(`__source_epoch`, 0), `__source_file`, `__source_pos`, `__source_row`),
  `__source_gtid`,
  CAST(CONCAT(CAST(TO_TIMESTAMP_LTZ(`__source_ts_us` / 1000, 3) AS STRING), LPAD(CAST(MOD(`__source_ts_us`, 1000) AS STRING), 3, '0')) AS TIMESTAMP(6)),
  CASE WHEN `__deleted` THEN '-D' ELSE '+I' END
FROM `source_freshness_probe`
WHERE `__error` IS NULL;

INSERT INTO `lake`.`flights`.`_quarantine`
SELECT
  `__topic`,
  `__partition`,
  `__offset`,
  `__error`,
  `__key`,
  `__raw`,
  CAST(`__timestamp` AS TIMESTAMP(6))
FROM `source_flights`
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
FROM `source_airlines`
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
FROM `source_airports`
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
FROM `source_planes`
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
FROM `source_weather`
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
FROM `source_freshness_probe`
WHERE NOT (`__error` IS NULL);

INSERT INTO `dead_letters`
SELECT
  `__key`,
  `__raw`,
  MAP['reason', CAST(`__error` AS BYTES), 'topic', CAST(`__topic` AS BYTES), 'partition', CAST(CAST(`__partition` AS STRING) AS BYTES), 'offset', CAST(CAST(`__offset` AS STRING) AS BYTES)]
FROM `source_flights`
WHERE NOT (`__error` IS NULL)
UNION ALL
SELECT
  `__key`,
  `__raw`,
  MAP['reason', CAST(`__error` AS BYTES), 'topic', CAST(`__topic` AS BYTES), 'partition', CAST(CAST(`__partition` AS STRING) AS BYTES), 'offset', CAST(CAST(`__offset` AS STRING) AS BYTES)]
FROM `source_airlines`
WHERE NOT (`__error` IS NULL)
UNION ALL
SELECT
  `__key`,
  `__raw`,
  MAP['reason', CAST(`__error` AS BYTES), 'topic', CAST(`__topic` AS BYTES), 'partition', CAST(CAST(`__partition` AS STRING) AS BYTES), 'offset', CAST(CAST(`__offset` AS STRING) AS BYTES)]
FROM `source_airports`
WHERE NOT (`__error` IS NULL)
UNION ALL
SELECT
  `__key`,
  `__raw`,
  MAP['reason', CAST(`__error` AS BYTES), 'topic', CAST(`__topic` AS BYTES), 'partition', CAST(CAST(`__partition` AS STRING) AS BYTES), 'offset', CAST(CAST(`__offset` AS STRING) AS BYTES)]
FROM `source_planes`
WHERE NOT (`__error` IS NULL)
UNION ALL
SELECT
  `__key`,
  `__raw`,
  MAP['reason', CAST(`__error` AS BYTES), 'topic', CAST(`__topic` AS BYTES), 'partition', CAST(CAST(`__partition` AS STRING) AS BYTES), 'offset', CAST(CAST(`__offset` AS STRING) AS BYTES)]
FROM `source_weather`
WHERE NOT (`__error` IS NULL)
UNION ALL
SELECT
  `__key`,
  `__raw`,
  MAP['reason', CAST(`__error` AS BYTES), 'topic', CAST(`__topic` AS BYTES), 'partition', CAST(CAST(`__partition` AS STRING) AS BYTES), 'offset', CAST(CAST(`__offset` AS STRING) AS BYTES)]
FROM `source_freshness_probe`
WHERE NOT (`__error` IS NULL);

END;
