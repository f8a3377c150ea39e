CREATE SCHEMA IF NOT EXISTS "lake"."flights_marts";

CREATE OR REPLACE TABLE "lake"."flights_marts"."weather_and_delay"
COMMENT 'What the weather at the hour of scheduled departure costs in minutes, per airport and kind of weather.' AS
SELECT
  "o"."origin",
  "o"."weather",
  COUNT(*) AS "departed",
  COUNT(DISTINCT "o"."scheduled_hour") AS "hours",
  ROUND(CAST(SUM("o"."dep_delay") AS DOUBLE) / COUNT(*), 1) AS "average_delay_minutes",
  ROUND(CAST(COUNT_IF("o"."dep_delay" >= 15) AS DOUBLE) / COUNT(*), 3) AS "share_late",
  MAX("o"."dep_delay") AS "longest_delay_minutes"
FROM (
  SELECT
    "f"."origin",
    "f"."dep_delay",
    DATE_TRUNC('HOUR', "f"."scheduled_departure") AS "scheduled_hour",
    CASE
      WHEN "w"."origin" IS NULL
      THEN 'not observed'
      WHEN "w"."visib" < 3
      THEN 'poor visibility'
      WHEN "w"."precip" > 0
      THEN 'rain or snow'
      WHEN "w"."wind_speed" >= 20
      THEN 'windy'
      ELSE 'fair'
    END AS "weather"
  FROM "lake"."flights"."flights" AS "f"
  LEFT JOIN "lake"."flights"."weather" AS "w"
    ON "w"."origin" = "f"."origin"
    AND "w"."observed_at" = DATE_TRUNC('HOUR', "f"."scheduled_departure")
  WHERE
    NOT "f"."dep_delay" IS NULL
) AS "o"
GROUP BY
  "o"."origin",
  "o"."weather";

-- check key (error): returns no rows
SELECT "origin", "weather", count(*) AS row_count FROM "lake"."flights_marts"."weather_and_delay"
GROUP BY "origin", "weather"
HAVING count(*) > 1 OR "origin" IS NULL OR "weather" IS NULL;

-- check accepted_weather (error): returns no rows
SELECT * FROM "lake"."flights_marts"."weather_and_delay"
WHERE "weather" NOT IN ('poor visibility', 'rain or snow', 'windy', 'fair', 'not observed');

-- check range_share_late (error): returns no rows
SELECT * FROM "lake"."flights_marts"."weather_and_delay"
WHERE "share_late" < 0 OR "share_late" > 1;

-- check every_departure_counts_once (error): returns no rows
SELECT
  "m"."departed",
  "f"."departed" AS "in_the_lake"
FROM (
  SELECT
    SUM("departed") AS "departed"
  FROM "lake"."flights_marts"."weather_and_delay" AS "mart"
) AS "m"
CROSS JOIN (
  SELECT
    COUNT("dep_delay") AS "departed"
  FROM "lake"."flights"."flights"
) AS "f"
WHERE
  "m"."departed" <> "f"."departed";
