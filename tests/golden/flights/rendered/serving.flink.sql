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
  `__raw` BYTES
) WITH (
  'connector' = 'kafka',
  'topic' = 'flights.airline.flights',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'flights-serving',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'lakehouse-record',
  'lakehouse-record.columns' = '{"id":"integer","carrier":"text","flight":"integer","tailnum":"text","origin":"text","dest":"text","flight_date":"date","scheduled_departure":"timestamp","scheduled_arrival":"timestamp","departs_at":"timestamp","departed_at":"timestamp","arrived_at":"timestamp","dep_delay":"integer","arr_delay":"integer","air_time":"integer","distance":"integer","status":"text","updated_at":"timestamp","__before_carrier":"text","__before_flight":"integer","__before_origin":"text","__before_flight_date":"date","__before_departs_at":"timestamp"}',
  'lakehouse-record.required' = '["id"]'
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
  `__raw` BYTES
) WITH (
  'connector' = 'kafka',
  'topic' = 'flights.airline.freshness_probe',
  'properties.bootstrap.servers' = '${KAFKA_BOOTSTRAP}',
  'properties.group.id' = 'flights-serving',
  'properties.isolation.level' = 'read_committed',
  'scan.startup.mode' = 'group-offsets',
  'properties.auto.offset.reset' = 'earliest',
  'format' = 'lakehouse-record',
  'lakehouse-record.columns' = '{"id":"integer","beat":"integer","written_at":"timestamp"}',
  'lakehouse-record.required' = '["id"]'
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

CREATE TEMPORARY TABLE `serving_freshness_by_id` (
  `id` INT NOT NULL,
  `beat` BIGINT,
  `written_at` STRING,
  `_deleted` BOOLEAN,
  `_position` BIGINT,
  PRIMARY KEY (`id`) NOT ENFORCED
) WITH (
  'connector' = 'cassandra-view',
  'hosts' = '${CASSANDRA_HOST}',
  'port' = '${CASSANDRA_PORT}',
  'username' = '${CASSANDRA_USERNAME}',
  'password' = '${CASSANDRA_PASSWORD}',
  'keyspace' = 'flights',
  'table' = 'freshness_by_id'
);

CREATE TEMPORARY TABLE `serving_freshness_documents` (
  `id` INT NOT NULL,
  `beat` BIGINT,
  `written_at` TIMESTAMP(6),
  `_deleted` BOOLEAN,
  `_position` BIGINT,
  PRIMARY KEY (`id`) NOT ENFORCED
) WITH (
  'connector' = 'couchdb',
  'url' = '${COUCHDB_URL}',
  'username' = '${COUCHDB_USERNAME}',
  'password' = '${COUCHDB_PASSWORD}',
  'database' = 'freshness_documents'
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
  CONCAT(REPLACE(CAST(`updated_at` AS STRING), ' ', 'T'), 'Z'),
  `__deleted`,
  source_position(COALESCE(`__source_epoch`, 0), `__source_file`, `__source_pos`, `__source_row`)
FROM `source_flights`
WHERE `__error` IS NULL
UNION ALL
SELECT
  `id`,
  `__before_carrier`,
  `__before_flight`,
  CAST(NULL AS STRING),
  `__before_origin`,
  CAST(NULL AS STRING),
  `__before_flight_date`,
  CAST(NULL AS TIMESTAMP(6)),
  CAST(NULL AS TIMESTAMP(6)),
  `__before_departs_at`,
  CAST(NULL AS TIMESTAMP(6)),
  CAST(NULL AS TIMESTAMP(6)),
  CAST(NULL AS INT),
  CAST(NULL AS INT),
  CAST(NULL AS INT),
  CAST(NULL AS INT),
  CAST(NULL AS STRING),
  CAST(NULL AS STRING),
  TRUE,
  source_position(COALESCE(`__source_epoch`, 0), `__source_file`, `__source_pos`, `__source_row`)
FROM `source_flights`
WHERE `__error` IS NULL AND `__op` = 'u' AND (`__before_origin` <> `origin` OR `__before_flight_date` <> `flight_date` OR `__before_departs_at` <> `departs_at` OR `__before_carrier` <> `carrier` OR `__before_flight` <> `flight`);

INSERT INTO `serving_flight_documents`
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
  `__deleted`,
  source_position(COALESCE(`__source_epoch`, 0), `__source_file`, `__source_pos`, `__source_row`)
FROM `source_flights`
WHERE `__error` IS NULL;

INSERT INTO `serving_freshness_by_id`
SELECT
  `id`,
  `beat`,
  CONCAT(REPLACE(CAST(`written_at` AS STRING), ' ', 'T'), 'Z'),
  `__deleted`,
  source_position(COALESCE(`__source_epoch`, 0), `__source_file`, `__source_pos`, `__source_row`)
FROM `source_freshness_probe`
WHERE `__error` IS NULL;

INSERT INTO `serving_freshness_documents`
SELECT
  `id`,
  `beat`,
  `written_at`,
  `__deleted`,
  source_position(COALESCE(`__source_epoch`, 0), `__source_file`, `__source_pos`, `__source_row`)
FROM `source_freshness_probe`
WHERE `__error` IS NULL;

END;
