CREATE MATERIALIZED VIEW IF NOT EXISTS `zoo_marts`.`prices` (`group`, `most`, `total`)
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
