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

CREATE TABLE IF NOT EXISTS `lake`.`flights`.`airlines` (
  `carrier` STRING NOT NULL,
  `name` STRING,
  `_position` BIGINT,
  `_gtid` STRING,
  `_committed_at` TIMESTAMP(6),
  `_op` STRING,
  PRIMARY KEY (`carrier`) NOT ENFORCED
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

CREATE TEMPORARY TABLE `source_flights` (
  `id` BIGINT,
  `carrier` STRING,
  `flight` INT,
  `tailnum` STRING,
  `origin` STRING,
  `dest` STRING,
  `flight_date` STRING,
  `scheduled_departure` TIMESTAMP_LTZ(6),
  `scheduled_arrival` TIMESTAMP_LTZ(6),
  `departs_at` TIMESTAMP_LTZ(6),
  `departed_at` TIMESTAMP_LTZ(6),
  `arrived_at` TIMESTAMP_LTZ(6),
  `dep_delay` INT,
  `arr_delay` INT,
  `air_time` INT,
  `distance` INT,
  `status` STRING,
  `updated_at` TIMESTAMP_LTZ(6),
  `__op` STRING,
  `__deleted` BOOLEAN,
  `__source_file` STRING,
  `__source_pos` BIGINT,
  `__source_row` BIGINT,
  `__source_gtid` STRING,
  `__source_ts_us` BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'flights.airline.flights',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'flights-lake',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'json',
  'json.fail-on-missing-field' = 'false',
  'json.ignore-parse-errors' = 'false',
  'json.timestamp-format.standard' = 'ISO-8601'
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
  `__source_ts_us` BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'flights.airline.airlines',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'flights-lake',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'json',
  'json.fail-on-missing-field' = 'false',
  'json.ignore-parse-errors' = 'false',
  'json.timestamp-format.standard' = 'ISO-8601'
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
  `__source_ts_us` BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'flights.airline.airports',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'flights-lake',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'json',
  'json.fail-on-missing-field' = 'false',
  'json.ignore-parse-errors' = 'false',
  'json.timestamp-format.standard' = 'ISO-8601'
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
  `__source_ts_us` BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'flights.airline.planes',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'flights-lake',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'json',
  'json.fail-on-missing-field' = 'false',
  'json.ignore-parse-errors' = 'false',
  'json.timestamp-format.standard' = 'ISO-8601'
);

CREATE TEMPORARY TABLE `source_weather` (
  `origin` STRING,
  `observed_at` TIMESTAMP_LTZ(6),
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
  `__source_ts_us` BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = 'flights.airline.weather',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'flights-lake',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'json',
  'json.fail-on-missing-field' = 'false',
  'json.ignore-parse-errors' = 'false',
  'json.timestamp-format.standard' = 'ISO-8601'
);

BEGIN STATEMENT SET;

INSERT INTO `lake`.`flights`.`flights`
SELECT
  `id`,
  `carrier`,
  `flight`,
  `tailnum`,
  `origin`,
  `dest`,
  CAST(SUBSTRING(`flight_date`, 1, 10) AS DATE),
  CAST(`scheduled_departure` AS TIMESTAMP(6)),
  CAST(`scheduled_arrival` AS TIMESTAMP(6)),
  CAST(`departs_at` AS TIMESTAMP(6)),
  CAST(`departed_at` AS TIMESTAMP(6)),
  CAST(`arrived_at` AS TIMESTAMP(6)),
  `dep_delay`,
  `arr_delay`,
  `air_time`,
  `distance`,
  `status`,
  CAST(`updated_at` AS TIMESTAMP(6)),
  source_position(0, `__source_file`, `__source_pos`, `__source_row`),
  `__source_gtid`,
  CAST(CONCAT(CAST(TO_TIMESTAMP_LTZ(`__source_ts_us` / 1000, 3) AS STRING), LPAD(CAST(MOD(`__source_ts_us`, 1000) AS STRING), 3, '0')) AS TIMESTAMP(6)),
  CASE WHEN `__deleted` THEN '-D' ELSE '+I' END
FROM `source_flights`;

INSERT INTO `lake`.`flights`.`airlines`
SELECT
  `carrier`,
  `name`,
  source_position(0, `__source_file`, `__source_pos`, `__source_row`),
  `__source_gtid`,
  CAST(CONCAT(CAST(TO_TIMESTAMP_LTZ(`__source_ts_us` / 1000, 3) AS STRING), LPAD(CAST(MOD(`__source_ts_us`, 1000) AS STRING), 3, '0')) AS TIMESTAMP(6)),
  CASE WHEN `__deleted` THEN '-D' ELSE '+I' END
FROM `source_airlines`;

INSERT INTO `lake`.`flights`.`airports`
SELECT
  `faa`,
  `name`,
  `lat`,
  `lon`,
  `alt`,
  `tz`,
  `dst`,
  `tzone`,
  source_position(0, `__source_file`, `__source_pos`, `__source_row`),
  `__source_gtid`,
  CAST(CONCAT(CAST(TO_TIMESTAMP_LTZ(`__source_ts_us` / 1000, 3) AS STRING), LPAD(CAST(MOD(`__source_ts_us`, 1000) AS STRING), 3, '0')) AS TIMESTAMP(6)),
  CASE WHEN `__deleted` THEN '-D' ELSE '+I' END
FROM `source_airports`;

INSERT INTO `lake`.`flights`.`planes`
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
  source_position(0, `__source_file`, `__source_pos`, `__source_row`),
  `__source_gtid`,
  CAST(CONCAT(CAST(TO_TIMESTAMP_LTZ(`__source_ts_us` / 1000, 3) AS STRING), LPAD(CAST(MOD(`__source_ts_us`, 1000) AS STRING), 3, '0')) AS TIMESTAMP(6)),
  CASE WHEN `__deleted` THEN '-D' ELSE '+I' END
FROM `source_planes`;

INSERT INTO `lake`.`flights`.`weather`
SELECT
  `origin`,
  CAST(`observed_at` AS TIMESTAMP(6)),
  `temp`,
  `dewp`,
  `humid`,
  `wind_dir`,
  `wind_speed`,
  `wind_gust`,
  `precip`,
  `pressure`,
  `visib`,
  source_position(0, `__source_file`, `__source_pos`, `__source_row`),
  `__source_gtid`,
  CAST(CONCAT(CAST(TO_TIMESTAMP_LTZ(`__source_ts_us` / 1000, 3) AS STRING), LPAD(CAST(MOD(`__source_ts_us`, 1000) AS STRING), 3, '0')) AS TIMESTAMP(6)),
  CASE WHEN `__deleted` THEN '-D' ELSE '+I' END
FROM `source_weather`;

END;
