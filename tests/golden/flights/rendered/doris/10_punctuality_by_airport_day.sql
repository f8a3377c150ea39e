-- not partitioned by flight_date: Doris takes a view's partitions from the tables it reads, and the lake's tables have none; every refresh computes the whole mart
CREATE MATERIALIZED VIEW IF NOT EXISTS `flights_marts`.`punctuality_by_airport_day` (`flight_date`, `origin`, `airport`, `scheduled`, `departed`, `landed`, `departed_on_time`, `arrived_on_time`, `average_departure_delay_minutes`, `average_arrival_delay_minutes`, `longest_departure_delay_minutes`)
BUILD DEFERRED
REFRESH COMPLETE ON MANUAL
COMMENT 'How punctual departures and arrivals were, per airport of departure and local day. A flight is late from 15 minutes on. [lakehouse:cb33d59891d6ca1a]'
DISTRIBUTED BY RANDOM BUCKETS AUTO
PROPERTIES (
  'replication_num' = '${DORIS_REPLICAS}',
  'enable_duplicate_without_keys_by_default' = 'true'
)
AS
SELECT
  `f`.`flight_date` AS `flight_date`,
  `f`.`origin` AS `origin`,
  `p`.`name` AS `airport`,
  COUNT(*) AS `scheduled`,
  COUNT(`f`.`departed_at`) AS `departed`,
  COUNT(`f`.`arrived_at`) AS `landed`,
  ROUND(
    CAST(COUNT(CASE WHEN `f`.`dep_delay` < 15 THEN 1 END) AS DOUBLE) / NULLIF(COUNT(`f`.`departed_at`), 0),
    3
  ) AS `departed_on_time`,
  ROUND(
    CAST(COUNT(CASE WHEN `f`.`arr_delay` < 15 THEN 1 END) AS DOUBLE) / NULLIF(COUNT(`f`.`arrived_at`), 0),
    3
  ) AS `arrived_on_time`,
  ROUND(CAST(SUM(`f`.`dep_delay`) AS DOUBLE) / NULLIF(COUNT(`f`.`dep_delay`), 0), 1) AS `average_departure_delay_minutes`,
  ROUND(CAST(SUM(`f`.`arr_delay`) AS DOUBLE) / NULLIF(COUNT(`f`.`arr_delay`), 0), 1) AS `average_arrival_delay_minutes`,
  MAX(`f`.`dep_delay`) AS `longest_departure_delay_minutes`
FROM `lake_paimon`.`flights`.`flights` AS `f`
LEFT JOIN `lake_paimon`.`flights`.`airports` AS `p`
  ON `p`.`faa` = `f`.`origin`
GROUP BY
  `f`.`flight_date`,
  `f`.`origin`,
  `p`.`name`;
