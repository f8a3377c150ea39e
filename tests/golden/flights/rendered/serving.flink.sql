-- flights-serving
SET 'execution.checkpointing.externalized-checkpoint-retention' = 'RETAIN_ON_CANCELLATION';
SET 'execution.checkpointing.interval' = '2 s';
SET 'execution.checkpointing.min-pause' = '1500 ms';
SET 'execution.checkpointing.mode' = 'EXACTLY_ONCE';
SET 'execution.checkpointing.tolerable-failed-checkpoints' = '10';
SET 'execution.runtime-mode' = 'STREAMING';
SET 'parallelism.default' = '1';
SET 'pipeline.name' = 'flights-serving';
SET 'restart-strategy.exponential-delay.initial-backoff' = '1 s';
SET 'restart-strategy.exponential-delay.max-backoff' = '10 s';
SET 'restart-strategy.type' = 'exponential-delay';
SET 'state.checkpoints.dir' = 's3://lake/flink/checkpoints';
SET 'state.checkpoints.num-retained' = '3';
SET 'state.savepoints.dir' = 's3://lake/flink/savepoints';
SET 'table.exec.sink.upsert-materialize' = 'NONE';
SET 'table.local-time-zone' = 'UTC';

CREATE TEMPORARY SYSTEM FUNCTION IF NOT EXISTS source_position AS 'io.lakehouse.flink.SourcePosition' LANGUAGE JAVA;

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
  `__source_ts_us` BIGINT,
  `__before_carrier` STRING,
  `__before_flight` INT,
  `__before_origin` STRING,
  `__before_flight_date` STRING,
  `__before_departs_at` TIMESTAMP_LTZ(6)
) WITH (
  'connector' = 'kafka',
  'topic' = 'flights.airline.flights',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'flights-serving',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'json',
  'json.fail-on-missing-field' = 'false',
  'json.ignore-parse-errors' = 'false',
  'json.timestamp-format.standard' = 'ISO-8601'
);

CREATE TEMPORARY TABLE `serving_departures_by_airport` (
  `id` BIGINT NOT NULL,
  `carrier` STRING NOT NULL,
  `flight` INT NOT NULL,
  `tailnum` STRING,
  `origin` STRING NOT NULL,
  `dest` STRING,
  `flight_date` DATE NOT NULL,
  `scheduled_departure` TIMESTAMP(6),
  `scheduled_arrival` TIMESTAMP(6),
  `departs_at` TIMESTAMP(6) NOT NULL,
  `departed_at` TIMESTAMP(6),
  `arrived_at` TIMESTAMP(6),
  `dep_delay` INT,
  `arr_delay` INT,
  `air_time` INT,
  `distance` INT,
  `status` STRING,
  `updated_at` STRING,
  `_deleted` BOOLEAN,
  `_position` BIGINT,
  PRIMARY KEY (`origin`, `flight_date`, `departs_at`, `carrier`, `flight`, `id`) NOT ENFORCED
) WITH (
  'connector' = 'cassandra-view',
  'hosts' = '${CASSANDRA_HOST}',
  'port' = '${CASSANDRA_PORT}',
  'username' = '${CASSANDRA_USERNAME}',
  'password' = '${CASSANDRA_PASSWORD}',
  'keyspace' = 'flights',
  'table' = 'departures_by_airport'
);

CREATE TEMPORARY TABLE `serving_flight_documents` (
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
  `_deleted` BOOLEAN,
  `_position` BIGINT,
  PRIMARY KEY (`id`) NOT ENFORCED
) WITH (
  'connector' = 'couchdb',
  'url' = '${COUCHDB_URL}',
  'username' = '${COUCHDB_USERNAME}',
  'password' = '${COUCHDB_PASSWORD}',
  'database' = 'flight_documents'
);

BEGIN STATEMENT SET;

INSERT INTO `serving_departures_by_airport`
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
  CONCAT(REPLACE(CAST(CAST(`updated_at` AS TIMESTAMP(6)) AS STRING), ' ', 'T'), 'Z'),
  `__deleted`,
  source_position(0, `__source_file`, `__source_pos`, `__source_row`)
FROM `source_flights`
UNION ALL
SELECT
  `id`,
  `__before_carrier`,
  `__before_flight`,
  CAST(NULL AS STRING),
  `__before_origin`,
  CAST(NULL AS STRING),
  CAST(SUBSTRING(`__before_flight_date`, 1, 10) AS DATE),
  CAST(NULL AS TIMESTAMP(6)),
  CAST(NULL AS TIMESTAMP(6)),
  CAST(`__before_departs_at` AS TIMESTAMP(6)),
  CAST(NULL AS TIMESTAMP(6)),
  CAST(NULL AS TIMESTAMP(6)),
  CAST(NULL AS INT),
  CAST(NULL AS INT),
  CAST(NULL AS INT),
  CAST(NULL AS INT),
  CAST(NULL AS STRING),
  CAST(NULL AS STRING),
  TRUE,
  source_position(0, `__source_file`, `__source_pos`, `__source_row`)
FROM `source_flights`
WHERE `__op` = 'u' AND (`__before_origin` <> `origin` OR `__before_flight_date` <> `flight_date` OR `__before_departs_at` <> `departs_at` OR `__before_carrier` <> `carrier` OR `__before_flight` <> `flight`);

INSERT INTO `serving_flight_documents`
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
  `__deleted`,
  source_position(0, `__source_file`, `__source_pos`, `__source_row`)
FROM `source_flights`;

END;
