-- flights-proof
SET 'execution.runtime-mode' = 'BATCH';
SET 'parallelism.default' = '1';
SET 'pipeline.name' = 'flights-proof';
SET 'table.local-time-zone' = 'UTC';

CREATE CATALOG `lake` WITH (
  'type' = 'paimon',
  'warehouse' = '${PAIMON_WAREHOUSE}',
  's3.endpoint' = '${S3_ENDPOINT}',
  's3.access-key' = '${S3_ACCESS_KEY}',
  's3.secret-key' = '${S3_SECRET_KEY}',
  's3.path.style.access' = 'true'
);

CREATE TEMPORARY TABLE `proof_flights` (
  `id` STRING,
  `carrier` STRING,
  `flight` STRING,
  `tailnum` STRING,
  `origin` STRING,
  `dest` STRING,
  `flight_date` STRING,
  `scheduled_departure` STRING,
  `scheduled_arrival` STRING,
  `departs_at` STRING,
  `departed_at` STRING,
  `arrived_at` STRING,
  `dep_delay` STRING,
  `arr_delay` STRING,
  `air_time` STRING,
  `distance` STRING,
  `status` STRING,
  `updated_at` STRING,
  `_position` STRING
) WITH (
  'connector' = 'filesystem',
  'path' = 's3://lake/proof/00000000/flights',
  'format' = 'json'
);

CREATE TEMPORARY TABLE `proof_airlines` (
  `carrier` STRING,
  `name` STRING,
  `_position` STRING
) WITH (
  'connector' = 'filesystem',
  'path' = 's3://lake/proof/00000000/airlines',
  'format' = 'json'
);

CREATE TEMPORARY TABLE `proof_airports` (
  `faa` STRING,
  `name` STRING,
  `lat` STRING,
  `lon` STRING,
  `alt` STRING,
  `tz` STRING,
  `dst` STRING,
  `tzone` STRING,
  `_position` STRING
) WITH (
  'connector' = 'filesystem',
  'path' = 's3://lake/proof/00000000/airports',
  'format' = 'json'
);

CREATE TEMPORARY TABLE `proof_planes` (
  `tailnum` STRING,
  `year` STRING,
  `type` STRING,
  `manufacturer` STRING,
  `model` STRING,
  `engines` STRING,
  `seats` STRING,
  `speed` STRING,
  `engine` STRING,
  `_position` STRING
) WITH (
  'connector' = 'filesystem',
  'path' = 's3://lake/proof/00000000/planes',
  'format' = 'json'
);

CREATE TEMPORARY TABLE `proof_weather` (
  `origin` STRING,
  `observed_at` STRING,
  `temp` STRING,
  `dewp` STRING,
  `humid` STRING,
  `wind_dir` STRING,
  `wind_speed` STRING,
  `wind_gust` STRING,
  `precip` STRING,
  `pressure` STRING,
  `visib` STRING,
  `_position` STRING
) WITH (
  'connector' = 'filesystem',
  'path' = 's3://lake/proof/00000000/weather',
  'format' = 'json'
);

CREATE TEMPORARY TABLE `proof_freshness_probe` (
  `id` STRING,
  `beat` STRING,
  `written_at` STRING,
  `_position` STRING
) WITH (
  'connector' = 'filesystem',
  'path' = 's3://lake/proof/00000000/freshness_probe',
  'format' = 'json'
);

BEGIN STATEMENT SET;

INSERT INTO `proof_flights`
SELECT
  CAST(r.`id` AS STRING),
  CAST(r.`carrier` AS STRING),
  CAST(r.`flight` AS STRING),
  CAST(r.`tailnum` AS STRING),
  CAST(r.`origin` AS STRING),
  CAST(r.`dest` AS STRING),
  CAST(r.`flight_date` AS STRING),
  CAST(r.`scheduled_departure` AS STRING),
  CAST(r.`scheduled_arrival` AS STRING),
  CAST(r.`departs_at` AS STRING),
  CAST(r.`departed_at` AS STRING),
  CAST(r.`arrived_at` AS STRING),
  CAST(r.`dep_delay` AS STRING),
  CAST(r.`arr_delay` AS STRING),
  CAST(r.`air_time` AS STRING),
  CAST(r.`distance` AS STRING),
  CAST(r.`status` AS STRING),
  CAST(r.`updated_at` AS STRING),
  CAST(r.`_position` AS STRING)
FROM `lake`.`flights`.`flights` AS r;

INSERT INTO `proof_airlines`
SELECT
  CAST(r.`carrier` AS STRING),
  CAST(r.`name` AS STRING),
  CAST(r.`_position` AS STRING)
FROM `lake`.`flights`.`airlines` AS r;

INSERT INTO `proof_airports`
SELECT
  CAST(r.`faa` AS STRING),
  CAST(r.`name` AS STRING),
  CAST(r.`lat` AS STRING),
  CAST(r.`lon` AS STRING),
  CAST(r.`alt` AS STRING),
  CAST(r.`tz` AS STRING),
  CAST(r.`dst` AS STRING),
  CAST(r.`tzone` AS STRING),
  CAST(r.`_position` AS STRING)
FROM `lake`.`flights`.`airports` AS r;

INSERT INTO `proof_planes`
SELECT
  CAST(r.`tailnum` AS STRING),
  CAST(r.`year` AS STRING),
  CAST(r.`type` AS STRING),
  CAST(r.`manufacturer` AS STRING),
  CAST(r.`model` AS STRING),
  CAST(r.`engines` AS STRING),
  CAST(r.`seats` AS STRING),
  CAST(r.`speed` AS STRING),
  CAST(r.`engine` AS STRING),
  CAST(r.`_position` AS STRING)
FROM `lake`.`flights`.`planes` AS r;

INSERT INTO `proof_weather`
SELECT
  CAST(r.`origin` AS STRING),
  CAST(r.`observed_at` AS STRING),
  CAST(r.`temp` AS STRING),
  CAST(r.`dewp` AS STRING),
  CAST(r.`humid` AS STRING),
  CAST(r.`wind_dir` AS STRING),
  CAST(r.`wind_speed` AS STRING),
  CAST(r.`wind_gust` AS STRING),
  CAST(r.`precip` AS STRING),
  CAST(r.`pressure` AS STRING),
  CAST(r.`visib` AS STRING),
  CAST(r.`_position` AS STRING)
FROM `lake`.`flights`.`weather` AS r;

INSERT INTO `proof_freshness_probe`
SELECT
  CAST(r.`id` AS STRING),
  CAST(r.`beat` AS STRING),
  CAST(r.`written_at` AS STRING),
  CAST(r.`_position` AS STRING)
FROM `lake`.`flights`.`freshness_probe` AS r;

END;
