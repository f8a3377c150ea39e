-- a refresh, and how its task is followed
REFRESH CATALOG `lake_paimon`;

REFRESH TABLE `lake_paimon`.`flights`.`flights`;

REFRESH TABLE `lake_paimon`.`flights`.`weather`;

REFRESH MATERIALIZED VIEW `flights_marts`.`weather_and_delay` COMPLETE;

SELECT `TaskId` AS `id`, `Status` AS `status`, `ErrorMsg` AS `error`, `CreateTime` AS `created`, `StartTime` AS `started`, `FinishTime` AS `finished`, `DurationMs` AS `milliseconds`, `RefreshMode` AS `mode`, `Progress` AS `progress` FROM tasks("type"="mv") WHERE `MvDatabaseName` = 'flights_marts' AND `MvName` = 'weather_and_delay' ORDER BY `CreateTime` DESC, `TaskId` DESC;

-- a changed definition: built beside, then put in the old one's place
DROP MATERIALIZED VIEW IF EXISTS `flights_marts`.`weather_and_delay__next`;

CREATE MATERIALIZED VIEW IF NOT EXISTS `flights_marts`.`weather_and_delay__next` (`origin`, `weather`, `departed`, `hours`, `average_delay_minutes`, `share_late`, `longest_delay_minutes`)
BUILD DEFERRED
REFRESH COMPLETE ON MANUAL
COMMENT 'What the weather at the hour of scheduled departure costs in minutes, per airport and kind of weather. [lakehouse:837d7a426067cd9c]'
DISTRIBUTED BY RANDOM BUCKETS AUTO
PROPERTIES (
  'replication_num' = '${DORIS_REPLICAS}',
  'enable_duplicate_without_keys_by_default' = 'true'
)
AS
SELECT
  `o`.`origin` AS `origin`,
  `o`.`weather` AS `weather`,
  COUNT(*) AS `departed`,
  COUNT(DISTINCT `o`.`scheduled_hour`) AS `hours`,
  ROUND(CAST(SUM(`o`.`dep_delay`) AS DOUBLE) / COUNT(*), 1) AS `average_delay_minutes`,
  ROUND(CAST(COUNT(CASE WHEN `o`.`dep_delay` >= 15 THEN 1 END) AS DOUBLE) / COUNT(*), 3) AS `share_late`,
  MAX(`o`.`dep_delay`) AS `longest_delay_minutes`
FROM (
  SELECT
    `f`.`origin` AS `origin`,
    `f`.`dep_delay` AS `dep_delay`,
    DATE_TRUNC(`f`.`scheduled_departure`, 'HOUR') AS `scheduled_hour`,
    CASE
      WHEN `w`.`origin` IS NULL
      THEN 'not observed'
      WHEN `w`.`visib` < 3
      THEN 'poor visibility'
      WHEN `w`.`precip` > 0
      THEN 'rain or snow'
      WHEN `w`.`wind_speed` >= 20
      THEN 'windy'
      ELSE 'fair'
    END AS `weather`
  FROM `lake_paimon`.`flights`.`flights` AS `f`
  LEFT JOIN `lake_paimon`.`flights`.`weather` AS `w`
    ON `w`.`origin` = `f`.`origin`
    AND `w`.`observed_at` = DATE_TRUNC(`f`.`scheduled_departure`, 'HOUR')
  WHERE
    NOT `f`.`dep_delay` IS NULL
) AS `o`
GROUP BY
  `o`.`origin`,
  `o`.`weather`;

REFRESH MATERIALIZED VIEW `flights_marts`.`weather_and_delay__next` COMPLETE;

ALTER MATERIALIZED VIEW `flights_marts`.`weather_and_delay` REPLACE WITH MATERIALIZED VIEW `weather_and_delay__next` PROPERTIES ('swap' = 'false');
