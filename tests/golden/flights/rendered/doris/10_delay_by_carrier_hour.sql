CREATE MATERIALIZED VIEW IF NOT EXISTS `flights_marts`.`delay_by_carrier_hour` (`carrier`, `airline`, `scheduled_hour`, `flights`, `departed`, `average_delay_minutes`, `median_delay_minutes`, `p90_delay_minutes`, `share_delayed_over_15_minutes`)
BUILD DEFERRED
REFRESH COMPLETE ON MANUAL
COMMENT 'Departure delays of each airline by hour of scheduled departure (UTC). [lakehouse:05e3eda4684c5052]'
DISTRIBUTED BY RANDOM BUCKETS AUTO
PROPERTIES (
  'replication_num' = '${DORIS_REPLICAS}',
  'enable_duplicate_without_keys_by_default' = 'true'
)
AS
SELECT
  `f`.`carrier` AS `carrier`,
  `a`.`name` AS `airline`,
  DATE_TRUNC(`f`.`scheduled_departure`, 'HOUR') AS `scheduled_hour`,
  COUNT(*) AS `flights`,
  COUNT(`f`.`departed_at`) AS `departed`,
  ROUND(AVG(CAST(`f`.`dep_delay` AS DOUBLE)), 1) AS `average_delay_minutes`,
  CAST(FLOOR(PERCENTILE_APPROX(CAST(`f`.`dep_delay` AS DOUBLE), 0.5) + 0.5) AS BIGINT) AS `median_delay_minutes`,
  CAST(FLOOR(PERCENTILE_APPROX(CAST(`f`.`dep_delay` AS DOUBLE), 0.9) + 0.5) AS BIGINT) AS `p90_delay_minutes`,
  ROUND(
    CAST(COUNT(CASE WHEN `f`.`dep_delay` > 15 THEN 1 END) AS DOUBLE) / NULLIF(COUNT(`f`.`departed_at`), 0),
    3
  ) AS `share_delayed_over_15_minutes`
FROM `lake_paimon`.`flights`.`flights` AS `f`
LEFT JOIN `lake_paimon`.`flights`.`airlines` AS `a`
  ON `a`.`carrier` = `f`.`carrier`
GROUP BY
  `f`.`carrier`,
  `a`.`name`,
  DATE_TRUNC(`f`.`scheduled_departure`, 'HOUR');
