CREATE SCHEMA IF NOT EXISTS "lake"."flights_marts";

CREATE OR REPLACE TABLE "lake"."flights_marts"."punctuality_by_airport_day"
COMMENT 'How punctual departures and arrivals were, per airport of departure and local day. A flight is late from 15 minutes on.'
WITH (partitioning = ARRAY['flight_date']) AS
SELECT
  "f"."flight_date",
  "f"."origin",
  "p"."name" AS "airport",
  COUNT(*) AS "scheduled",
  COUNT("f"."departed_at") AS "departed",
  COUNT("f"."arrived_at") AS "landed",
  ROUND(
    CAST(COUNT_IF("f"."dep_delay" < 15) AS DOUBLE) / NULLIF(COUNT("f"."departed_at"), 0),
    3
  ) AS "departed_on_time",
  ROUND(
    CAST(COUNT_IF("f"."arr_delay" < 15) AS DOUBLE) / NULLIF(COUNT("f"."arrived_at"), 0),
    3
  ) AS "arrived_on_time",
  ROUND(CAST(SUM("f"."dep_delay") AS DOUBLE) / NULLIF(COUNT("f"."dep_delay"), 0), 1) AS "average_departure_delay_minutes",
  ROUND(CAST(SUM("f"."arr_delay") AS DOUBLE) / NULLIF(COUNT("f"."arr_delay"), 0), 1) AS "average_arrival_delay_minutes",
  MAX("f"."dep_delay") AS "longest_departure_delay_minutes"
FROM "lake"."flights"."flights" AS "f"
LEFT JOIN "lake"."flights"."airports" AS "p"
  ON "p"."faa" = "f"."origin"
GROUP BY
  "f"."flight_date",
  "f"."origin",
  "p"."name"
WITH NO DATA;

-- what its partitions are computed from
SELECT "flight_date" AS part, count(*) AS source_rows, coalesce(to_hex(checksum(json_format(CAST(ARRAY[CAST("arr_delay" AS varchar), CAST("arrived_at" AS varchar), CAST("dep_delay" AS varchar), CAST("departed_at" AS varchar), CAST("flight_date" AS varchar), CAST("origin" AS varchar)] AS json)))), '') AS fingerprint
FROM "lake"."flights"."flights"
GROUP BY 1;

SELECT 'airports' AS name, count(*) AS source_rows, coalesce(to_hex(checksum(json_format(CAST(ARRAY[CAST("faa" AS varchar), CAST("name" AS varchar)] AS json)))), '') AS fingerprint
FROM "lake"."flights"."airports";

-- check key (error): returns no rows
SELECT "origin", "flight_date", count(*) AS row_count FROM "lake"."flights_marts"."punctuality_by_airport_day"
GROUP BY "origin", "flight_date"
HAVING count(*) > 1 OR "origin" IS NULL OR "flight_date" IS NULL;

-- check partition (error): returns no rows
SELECT * FROM "lake"."flights_marts"."punctuality_by_airport_day"
WHERE "flight_date" IS NULL;

-- check not_null_scheduled_departed_landed (error): returns no rows
SELECT * FROM "lake"."flights_marts"."punctuality_by_airport_day"
WHERE "scheduled" IS NULL OR "departed" IS NULL OR "landed" IS NULL;

-- check range_departed_on_time (error): returns no rows
SELECT * FROM "lake"."flights_marts"."punctuality_by_airport_day"
WHERE "departed_on_time" < 0 OR "departed_on_time" > 1;

-- check range_arrived_on_time (error): returns no rows
SELECT * FROM "lake"."flights_marts"."punctuality_by_airport_day"
WHERE "arrived_on_time" < 0 OR "arrived_on_time" > 1;

-- check accepted_origin (error): returns no rows
SELECT * FROM "lake"."flights_marts"."punctuality_by_airport_day"
WHERE "origin" NOT IN ('EWR', 'JFK', 'LGA');

-- check departed_were_scheduled (error): returns no rows
SELECT
  *
FROM "lake"."flights_marts"."punctuality_by_airport_day" AS "mart"
WHERE
  "departed" > "scheduled" OR "landed" > "departed";
