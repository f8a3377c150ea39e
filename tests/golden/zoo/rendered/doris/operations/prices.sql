-- a refresh, and how its task is followed
REFRESH CATALOG `lake_paimon`;

REFRESH TABLE `lake_paimon`.`zoo`.`Select`;

REFRESH TABLE `lake_paimon`.`zoo`.`every-type`;

REFRESH MATERIALIZED VIEW `zoo_marts`.`prices` COMPLETE;

SELECT `TaskId` AS `id`, `Status` AS `status`, `ErrorMsg` AS `error`, `CreateTime` AS `created`, `StartTime` AS `started`, `FinishTime` AS `finished`, `DurationMs` AS `milliseconds`, `RefreshMode` AS `mode`, `Progress` AS `progress` FROM tasks("type"="mv") WHERE `MvDatabaseName` = 'zoo_marts' AND `MvName` = 'prices' ORDER BY `CreateTime` DESC, `TaskId` DESC;

-- a changed definition: built beside, then put in the old one's place
DROP MATERIALIZED VIEW IF EXISTS `zoo_marts`.`prices__next`;

CREATE MATERIALIZED VIEW IF NOT EXISTS `zoo_marts`.`prices__next` (`group`, `most`, `total`)
BUILD DEFERRED
REFRESH COMPLETE ON MANUAL
COMMENT 'It''s what things cost. [lakehouse:b1bb49810abede4f]'
DISTRIBUTED BY RANDOM BUCKETS AUTO
PROPERTIES (
  'replication_num' = '${DORIS_REPLICAS}',
  'enable_duplicate_without_keys_by_default' = 'true'
)
AS
WITH `t` AS (
  SELECT
    `select`.`group by` AS `group by`,
    `select`.`größe` AS `größe`,
    `select`.`price` AS `price`
  FROM `lake_paimon`.`zoo`.`Select` AS `select`
)
SELECT
  `t`.`group by` AS `group`,
  MAX(`every-type`.`d_decimal`) AS `most`,
  SUM(`t`.`price`) AS `total`
FROM `t` AS `t`
JOIN `lake_paimon`.`zoo`.`every-type` AS `every-type`
  ON `every-type`.`id` = `t`.`größe`
WHERE
  `t`.`group by` <> 'lake.t''s'
GROUP BY
  `t`.`group by`;

REFRESH MATERIALIZED VIEW `zoo_marts`.`prices__next` COMPLETE;

ALTER MATERIALIZED VIEW `zoo_marts`.`prices` REPLACE WITH MATERIALIZED VIEW `prices__next` PROPERTIES ('swap' = 'false');
