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
  `updated_at` STRING
) WITH (
  'connector' = 'filesystem',
  'path' = 's3://lake/proof/00000000/flights',
  'format' = 'json'
);

CREATE TEMPORARY TABLE `proof_airlines` (
  `carrier` STRING,
  `name` STRING
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
  `tzone` STRING
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
  `engine` STRING
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
  `visib` STRING
) WITH (
  'connector' = 'filesystem',
  'path' = 's3://lake/proof/00000000/weather',
  'format' = 'json'
);

BEGIN STATEMENT SET;

INSERT INTO `proof_flights`
SELECT
  CAST(`id` AS STRING),
  CAST(`carrier` AS STRING),
  CAST(`flight` AS STRING),
  CAST(`tailnum` AS STRING),
  CAST(`origin` AS STRING),
  CAST(`dest` AS STRING),
  CAST(`flight_date` AS STRING),
  CAST(`scheduled_departure` AS STRING),
  CAST(`scheduled_arrival` AS STRING),
  CAST(`departs_at` AS STRING),
  CAST(`departed_at` AS STRING),
  CAST(`arrived_at` AS STRING),
  CAST(`dep_delay` AS STRING),
  CAST(`arr_delay` AS STRING),
  CAST(`air_time` AS STRING),
  CAST(`distance` AS STRING),
  CAST(`status` AS STRING),
  CAST(`updated_at` AS STRING)
FROM `lake`.`flights`.`flights`;

INSERT INTO `proof_airlines`
SELECT
  CAST(`carrier` AS STRING),
  CAST(`name` AS STRING)
FROM `lake`.`flights`.`airlines`;

INSERT INTO `proof_airports`
SELECT
  CAST(`faa` AS STRING),
  CAST(`name` AS STRING),
  CAST(`lat` AS STRING),
  CAST(`lon` AS STRING),
  CAST(`alt` AS STRING),
  CAST(`tz` AS STRING),
  CAST(`dst` AS STRING),
  CAST(`tzone` AS STRING)
FROM `lake`.`flights`.`airports`;

INSERT INTO `proof_planes`
SELECT
  CAST(`tailnum` AS STRING),
  CAST(`year` AS STRING),
  CAST(`type` AS STRING),
  CAST(`manufacturer` AS STRING),
  CAST(`model` AS STRING),
  CAST(`engines` AS STRING),
  CAST(`seats` AS STRING),
  CAST(`speed` AS STRING),
  CAST(`engine` AS STRING)
FROM `lake`.`flights`.`planes`;

INSERT INTO `proof_weather`
SELECT
  CAST(`origin` AS STRING),
  CAST(`observed_at` AS STRING),
  CAST(`temp` AS STRING),
  CAST(`dewp` AS STRING),
  CAST(`humid` AS STRING),
  CAST(`wind_dir` AS STRING),
  CAST(`wind_speed` AS STRING),
  CAST(`wind_gust` AS STRING),
  CAST(`precip` AS STRING),
  CAST(`pressure` AS STRING),
  CAST(`visib` AS STRING)
FROM `lake`.`flights`.`weather`;

END;
