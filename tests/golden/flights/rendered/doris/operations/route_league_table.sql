-- a refresh, and how its task is followed
REFRESH CATALOG `lake_paimon`;

REFRESH TABLE `lake_paimon`.`flights`.`airports`;

REFRESH TABLE `lake_paimon`.`flights`.`flights`;

REFRESH MATERIALIZED VIEW `flights_marts`.`route_league_table` COMPLETE;

SELECT `TaskId` AS `id`, `Status` AS `status`, `ErrorMsg` AS `error`, `CreateTime` AS `created`, `StartTime` AS `started`, `FinishTime` AS `finished`, `DurationMs` AS `milliseconds`, `RefreshMode` AS `mode`, `Progress` AS `progress` FROM tasks("type"="mv") WHERE `MvDatabaseName` = 'flights_marts' AND `MvName` = 'route_league_table' ORDER BY `CreateTime` DESC, `TaskId` DESC;

-- a changed definition: built beside, then put in the old one's place
DROP MATERIALIZED VIEW IF EXISTS `flights_marts`.`route_league_table__next`;

CREATE MATERIALIZED VIEW IF NOT EXISTS `flights_marts`.`route_league_table__next` (`origin`, `dest`, `destination`, `flights`, `landed`, `carriers`, `distance_miles`, `average_arrival_delay_minutes`, `rank_by_flights`, `rank_by_delay`)
BUILD DEFERRED
REFRESH COMPLETE ON MANUAL
COMMENT 'All routes out of New York, ranked by number of flights and, from 10 landings on, by delay on arrival; the most punctual route is first. [lakehouse:2094f5d579cbe59a]'
DISTRIBUTED BY RANDOM BUCKETS AUTO
PROPERTIES (
  'replication_num' = '${DORIS_REPLICAS}',
  'enable_duplicate_without_keys_by_default' = 'true'
)
AS
SELECT
  `r`.`origin` AS `origin`,
  `r`.`dest` AS `dest`,
  `a`.`name` AS `destination`,
  `r`.`flights` AS `flights`,
  `r`.`landed` AS `landed`,
  `r`.`carriers` AS `carriers`,
  `r`.`distance_miles` AS `distance_miles`,
  `r`.`average_arrival_delay_minutes` AS `average_arrival_delay_minutes`,
  RANK() OVER (ORDER BY `r`.`flights` DESC) AS `rank_by_flights`,
  CASE
    WHEN `r`.`landed` >= 10
    THEN RANK() OVER (
      PARTITION BY CASE WHEN `r`.`landed` >= 10 THEN 1 ELSE 0 END
      ORDER BY `r`.`average_arrival_delay_minutes` NULLS LAST
    )
  END AS `rank_by_delay`
FROM (
  SELECT
    `f`.`origin` AS `origin`,
    `f`.`dest` AS `dest`,
    COUNT(*) AS `flights`,
    COUNT(`f`.`arr_delay`) AS `landed`,
    COUNT(DISTINCT `f`.`carrier`) AS `carriers`,
    MAX(`f`.`distance`) AS `distance_miles`,
    ROUND(CAST(SUM(`f`.`arr_delay`) AS DOUBLE) / NULLIF(COUNT(`f`.`arr_delay`), 0), 1) AS `average_arrival_delay_minutes`
  FROM `lake_paimon`.`flights`.`flights` AS `f`
  GROUP BY
    `f`.`origin`,
    `f`.`dest`
) AS `r`
LEFT JOIN `lake_paimon`.`flights`.`airports` AS `a`
  ON `a`.`faa` = `r`.`dest`;

REFRESH MATERIALIZED VIEW `flights_marts`.`route_league_table__next` COMPLETE;

ALTER MATERIALIZED VIEW `flights_marts`.`route_league_table` REPLACE WITH MATERIALIZED VIEW `route_league_table__next` PROPERTIES ('swap' = 'false');
