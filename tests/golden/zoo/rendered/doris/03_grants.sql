CREATE ROLE IF NOT EXISTS `zoo_reporting`;

GRANT SELECT_PRIV ON `internal`.`zoo_marts`.* TO ROLE 'zoo_reporting';

GRANT SELECT_PRIV ON `lake_paimon`.`zoo`.* TO ROLE 'zoo_reporting';

GRANT SELECT_PRIV ON `lake_nessie`.`zoo`.* TO ROLE 'zoo_reporting';

CREATE USER IF NOT EXISTS 'lakehouse_reporter'@'%' IDENTIFIED BY '${DORIS_REPORTER_PASSWORD}';

ALTER USER 'lakehouse_reporter'@'%' IDENTIFIED BY '${DORIS_REPORTER_PASSWORD}';

GRANT 'zoo_reporting' TO 'lakehouse_reporter'@'%';
