CREATE DATABASE IF NOT EXISTS `internal`.`flights_marts`;
