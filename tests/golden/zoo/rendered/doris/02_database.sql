CREATE DATABASE IF NOT EXISTS `internal`.`zoo_marts`;
