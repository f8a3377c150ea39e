CREATE SCHEMA IF NOT EXISTS "lake"."flights_marts";

CREATE OR REPLACE TABLE "lake"."flights_marts"."plane_turnaround"
COMMENT 'How long after landing each aircraft leaves New York again, flight by flight, and whether a late landing made it late. The flight back to New York is not in the data, so the minutes hold it; what is left after a flight back as long as the one out is estimated.' AS
SELECT
  "t"."flight_id",
  "t"."tailnum",
  "t"."carrier",
  "p"."manufacturer",
  "p"."model",
  "t"."dest" AS "landed_in",
  "t"."landed_at",
  "t"."arrival_delay_minutes",
  "t"."next_flight_id",
  "t"."next_departed_from",
  "t"."next_departure_at",
  "t"."next_departure_delay_minutes",
  DATE_DIFF('MINUTE', "t"."landed_at", "t"."next_departure_at") AS "minutes_until_next_departure",
  DATE_DIFF('MINUTE', "t"."landed_at", "t"."next_departure_at") - "t"."air_time" AS "estimated_ground_minutes"
FROM (
  SELECT
    "f"."id" AS "flight_id",
    "f"."tailnum",
    "f"."carrier",
    "f"."dest",
    "f"."arrived_at" AS "landed_at",
    "f"."arr_delay" AS "arrival_delay_minutes",
    "f"."air_time",
    LEAD("f"."id") OVER (PARTITION BY "f"."tailnum" ORDER BY "f"."departs_at", "f"."id") AS "next_flight_id",
    LEAD("f"."origin") OVER (PARTITION BY "f"."tailnum" ORDER BY "f"."departs_at", "f"."id") AS "next_departed_from",
    LEAD("f"."departs_at") OVER (PARTITION BY "f"."tailnum" ORDER BY "f"."departs_at", "f"."id") AS "next_departure_at",
    LEAD("f"."dep_delay") OVER (PARTITION BY "f"."tailnum" ORDER BY "f"."departs_at", "f"."id") AS "next_departure_delay_minutes"
  FROM "lake"."flights"."flights" AS "f"
  WHERE
    NOT "f"."tailnum" IS NULL
) AS "t"
LEFT JOIN "lake"."flights"."planes" AS "p"
  ON "p"."tailnum" = "t"."tailnum"
WHERE
  NOT "t"."landed_at" IS NULL;

-- check key (error): returns no rows
SELECT "flight_id", count(*) AS row_count FROM "lake"."flights_marts"."plane_turnaround"
GROUP BY "flight_id"
HAVING count(*) > 1 OR "flight_id" IS NULL;

-- check not_null_tailnum_landed_at (error): returns no rows
SELECT * FROM "lake"."flights_marts"."plane_turnaround"
WHERE "tailnum" IS NULL OR "landed_at" IS NULL;

-- check it_lands_before_it_leaves (warn): returns no rows
SELECT * FROM "lake"."flights_marts"."plane_turnaround"
WHERE "minutes_until_next_departure" < 0;

-- check every_landing_is_there (error): returns no rows
SELECT
  "f"."id"
FROM "lake"."flights"."flights" AS "f"
LEFT JOIN "lake"."flights_marts"."plane_turnaround" AS "mart"
  ON "mart"."flight_id" = "f"."id"
WHERE
  NOT "f"."arrived_at" IS NULL
  AND NOT "f"."tailnum" IS NULL
  AND "mart"."flight_id" IS NULL;
