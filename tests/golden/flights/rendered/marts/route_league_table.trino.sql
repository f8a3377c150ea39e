CREATE SCHEMA IF NOT EXISTS "lake"."flights_marts";

CREATE OR REPLACE TABLE "lake"."flights_marts"."route_league_table"
COMMENT 'All routes out of New York, ranked by number of flights and, from 10 landings on, by delay on arrival; the most punctual route is first.' AS
SELECT
  "r"."origin",
  "r"."dest",
  "a"."name" AS "destination",
  "r"."flights",
  "r"."landed",
  "r"."carriers",
  "r"."distance_miles",
  "r"."average_arrival_delay_minutes",
  RANK() OVER (ORDER BY "r"."flights" DESC) AS "rank_by_flights",
  CASE
    WHEN "r"."landed" >= 10
    THEN RANK() OVER (
      PARTITION BY CASE WHEN "r"."landed" >= 10 THEN 1 ELSE 0 END
      ORDER BY "r"."average_arrival_delay_minutes"
    )
  END AS "rank_by_delay"
FROM (
  SELECT
    "f"."origin",
    "f"."dest",
    COUNT(*) AS "flights",
    COUNT("f"."arr_delay") AS "landed",
    COUNT(DISTINCT "f"."carrier") AS "carriers",
    MAX("f"."distance") AS "distance_miles",
    ROUND(CAST(SUM("f"."arr_delay") AS DOUBLE) / NULLIF(COUNT("f"."arr_delay"), 0), 1) AS "average_arrival_delay_minutes"
  FROM "lake"."flights"."flights" AS "f"
  GROUP BY
    "f"."origin",
    "f"."dest"
) AS "r"
LEFT JOIN "lake"."flights"."airports" AS "a"
  ON "a"."faa" = "r"."dest";

-- check key (error): returns no rows
SELECT "origin", "dest", count(*) AS row_count FROM "lake"."flights_marts"."route_league_table"
GROUP BY "origin", "dest"
HAVING count(*) > 1 OR "origin" IS NULL OR "dest" IS NULL;

-- check row_count (error): returns no rows
SELECT count(*) AS row_count FROM "lake"."flights_marts"."route_league_table"
HAVING count(*) < 1;

-- check range_rank_by_flights (error): returns no rows
SELECT * FROM "lake"."flights_marts"."route_league_table"
WHERE "rank_by_flights" < 1;

-- check not_null_destination (warn): returns no rows
SELECT * FROM "lake"."flights_marts"."route_league_table"
WHERE "destination" IS NULL;

-- check flights_add_up (error): returns no rows
SELECT
  "m"."flights",
  "f"."flights" AS "in_the_lake"
FROM (
  SELECT
    SUM("flights") AS "flights"
  FROM "lake"."flights_marts"."route_league_table" AS "mart"
) AS "m"
CROSS JOIN (
  SELECT
    COUNT(*) AS "flights"
  FROM "lake"."flights"."flights"
) AS "f"
WHERE
  "m"."flights" <> "f"."flights";
