CREATE SCHEMA IF NOT EXISTS "lake"."flights_marts";

CREATE OR REPLACE TABLE "lake"."flights_marts"."delay_by_carrier_hour"
COMMENT 'Departure delays of each airline by hour of scheduled departure (UTC).' AS
SELECT
  "f"."carrier",
  "a"."name" AS "airline",
  DATE_TRUNC('HOUR', "f"."scheduled_departure") AS "scheduled_hour",
  COUNT(*) AS "flights",
  COUNT("f"."departed_at") AS "departed",
  ROUND(AVG(CAST("f"."dep_delay" AS DOUBLE)), 1) AS "average_delay_minutes",
  APPROX_PERCENTILE("f"."dep_delay", 0.5) AS "median_delay_minutes",
  APPROX_PERCENTILE("f"."dep_delay", 0.9) AS "p90_delay_minutes",
  ROUND(
    CAST(COUNT_IF("f"."dep_delay" > 15) AS DOUBLE) / NULLIF(COUNT("f"."departed_at"), 0),
    3
  ) AS "share_delayed_over_15_minutes"
FROM "lake"."flights"."flights" AS "f"
LEFT JOIN "lake"."flights"."airlines" AS "a"
  ON "a"."carrier" = "f"."carrier"
GROUP BY
  "f"."carrier",
  "a"."name",
  DATE_TRUNC('HOUR', "f"."scheduled_departure");

-- check key (error): returns no rows
SELECT "carrier", "scheduled_hour", count(*) AS row_count FROM "lake"."flights_marts"."delay_by_carrier_hour"
GROUP BY "carrier", "scheduled_hour"
HAVING count(*) > 1 OR "carrier" IS NULL OR "scheduled_hour" IS NULL;

-- check row_count (error): returns no rows
SELECT count(*) AS row_count FROM "lake"."flights_marts"."delay_by_carrier_hour"
HAVING count(*) < 1;

-- check range_share_delayed_over_15_minutes (error): returns no rows
SELECT * FROM "lake"."flights_marts"."delay_by_carrier_hour"
WHERE "share_delayed_over_15_minutes" < 0 OR "share_delayed_over_15_minutes" > 1;

-- check no_flight_is_lost (error): returns no rows
SELECT
  "m"."flights",
  "f"."flights" AS "in_the_lake"
FROM (
  SELECT
    SUM("flights") AS "flights"
  FROM "lake"."flights_marts"."delay_by_carrier_hour" AS "mart"
) AS "m"
CROSS JOIN (
  SELECT
    COUNT(*) AS "flights"
  FROM "lake"."flights"."flights"
) AS "f"
WHERE
  "m"."flights" <> "f"."flights";

-- check airline_is_known (warn): returns no rows
SELECT * FROM "lake"."flights_marts"."delay_by_carrier_hour"
WHERE "airline" IS NULL;
