CREATE ROLE IF NOT EXISTS `flights_reporting`;

GRANT SELECT_PRIV ON `internal`.`flights_marts`.* TO ROLE 'flights_reporting';

GRANT SELECT_PRIV ON `lake_paimon`.`flights`.* TO ROLE 'flights_reporting';

GRANT SELECT_PRIV ON `lake_nessie`.`flights`.* TO ROLE 'flights_reporting';

CREATE USER IF NOT EXISTS 'lakehouse_reporter'@'%' IDENTIFIED BY '${DORIS_REPORTER_PASSWORD}';

ALTER USER 'lakehouse_reporter'@'%' IDENTIFIED BY '${DORIS_REPORTER_PASSWORD}';

GRANT 'flights_reporting' TO 'lakehouse_reporter'@'%';
