-- a refresh, and how its task is followed
REFRESH CATALOG `lake_paimon`;

REFRESH TABLE `lake_paimon`.`flights`.`flights`;

REFRESH TABLE `lake_paimon`.`flights`.`planes`;

REFRESH MATERIALIZED VIEW `flights_marts`.`plane_turnaround` COMPLETE;

SELECT `TaskId` AS `id`, `Status` AS `status`, `ErrorMsg` AS `error`, `CreateTime` AS `created`, `StartTime` AS `started`, `FinishTime` AS `finished`, `DurationMs` AS `milliseconds`, `RefreshMode` AS `mode`, `Progress` AS `progress` FROM tasks("type"="mv") WHERE `MvDatabaseName` = 'flights_marts' AND `MvName` = 'plane_turnaround' ORDER BY `CreateTime` DESC, `TaskId` DESC;

-- a changed definition: built beside, then put in the old one's place
DROP MATERIALIZED VIEW IF EXISTS `flights_marts`.`plane_turnaround__next`;

CREATE MATERIALIZED VIEW IF NOT EXISTS `flights_marts`.`plane_turnaround__next` (`flight_id`, `tailnum`, `carrier`, `manufacturer`, `model`, `landed_in`, `landed_at`, `arrival_delay_minutes`, `next_flight_id`, `next_departed_from`, `next_departure_at`, `next_departure_delay_minutes`, `minutes_until_next_departure`, `estimated_ground_minutes`)
BUILD DEFERRED
REFRESH COMPLETE ON MANUAL
COMMENT 'How long after landing each aircraft leaves New York again, flight by flight, and whether a late landing made it late. The flight back to New York is not in the data, so the minutes hold it; what is left after a flight back as long as the one out is estimated. [lakehouse:a013d086b26beeb3]'
DISTRIBUTED BY RANDOM BUCKETS AUTO
PROPERTIES (
  'replication_num' = '${DORIS_REPLICAS}',
  'enable_duplicate_without_keys_by_default' = 'true'
)
AS
SELECT
  `t`.`flight_id` AS `flight_id`,
  `t`.`tailnum` AS `tailnum`,
  `t`.`carrier` AS `carrier`,
  `p`.`manufacturer` AS `manufacturer`,
  `p`.`model` AS `model`,
  `t`.`dest` AS `landed_in`,
  `t`.`landed_at` AS `landed_at`,
  `t`.`arrival_delay_minutes` AS `arrival_delay_minutes`,
  `t`.`next_flight_id` AS `next_flight_id`,
  `t`.`next_departed_from` AS `next_departed_from`,
  `t`.`next_departure_at` AS `next_departure_at`,
  `t`.`next_departure_delay_minutes` AS `next_departure_delay_minutes`,
  TIMESTAMPDIFF(MINUTE, `t`.`landed_at`, `t`.`next_departure_at`) AS `minutes_until_next_departure`,
  TIMESTAMPDIFF(MINUTE, `t`.`landed_at`, `t`.`next_departure_at`) - `t`.`air_time` AS `estimated_ground_minutes`
FROM (
  SELECT
    `f`.`id` AS `flight_id`,
    `f`.`tailnum` AS `tailnum`,
    `f`.`carrier` AS `carrier`,
    `f`.`dest` AS `dest`,
    `f`.`arrived_at` AS `landed_at`,
    `f`.`arr_delay` AS `arrival_delay_minutes`,
    `f`.`air_time` AS `air_time`,
    LEAD(`f`.`id`, 1, NULL) OVER (
      PARTITION BY `f`.`tailnum`
      ORDER BY `f`.`departs_at` NULLS LAST, `f`.`id` NULLS LAST
    ) AS `next_flight_id`,
    LEAD(`f`.`origin`, 1, NULL) OVER (
      PARTITION BY `f`.`tailnum`
      ORDER BY `f`.`departs_at` NULLS LAST, `f`.`id` NULLS LAST
    ) AS `next_departed_from`,
    LEAD(`f`.`departs_at`, 1, NULL) OVER (
      PARTITION BY `f`.`tailnum`
      ORDER BY `f`.`departs_at` NULLS LAST, `f`.`id` NULLS LAST
    ) AS `next_departure_at`,
    LEAD(`f`.`dep_delay`, 1, NULL) OVER (
      PARTITION BY `f`.`tailnum`
      ORDER BY `f`.`departs_at` NULLS LAST, `f`.`id` NULLS LAST
    ) AS `next_departure_delay_minutes`
  FROM `lake_paimon`.`flights`.`flights` AS `f`
  WHERE
    NOT `f`.`tailnum` IS NULL
) AS `t`
LEFT JOIN `lake_paimon`.`flights`.`planes` AS `p`
  ON `p`.`tailnum` = `t`.`tailnum`
WHERE
  NOT `t`.`landed_at` IS NULL;

REFRESH MATERIALIZED VIEW `flights_marts`.`plane_turnaround__next` COMPLETE;

ALTER MATERIALIZED VIEW `flights_marts`.`plane_turnaround` REPLACE WITH MATERIALIZED VIEW `plane_turnaround__next` PROPERTIES ('swap' = 'false');
