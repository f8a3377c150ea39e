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
  `updated_at`
FROM `airline`.`flights`
ORDER BY `id`;

SELECT
  `carrier`,
  `name`
FROM `airline`.`airlines`
ORDER BY `carrier`;

SELECT
  `faa`,
  `name`,
  `lat`,
  `lon`,
  `alt`,
  `tz`,
  `dst`,
  `tzone`
FROM `airline`.`airports`
ORDER BY `faa`;

SELECT
  `tailnum`,
  `year`,
  `type`,
  `manufacturer`,
  `model`,
  `engines`,
  `seats`,
  `speed`,
  `engine`
FROM `airline`.`planes`
ORDER BY `tailnum`;

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
  `visib`
FROM `airline`.`weather`
ORDER BY `origin`, `observed_at`;

SELECT
  `id`,
  `beat`,
  `written_at`
FROM `airline`.`freshness_probe`
ORDER BY `id`;
