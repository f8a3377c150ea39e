CREATE SCHEMA IF NOT EXISTS "lake"."zoo_marts";

CREATE OR REPLACE TABLE "lake"."zoo_marts"."prices"
COMMENT 'It''s what things cost.' AS
WITH "t" AS (
  SELECT
    "group by",
    "größe",
    "price"
  FROM "lake"."zoo"."Select"
)
SELECT
  "t"."group by" AS "group",
  MAX("zoo"."every-type"."d_decimal") AS "most",
  SUM("t"."price") AS "total"
FROM "t"
JOIN "lake"."zoo"."every-type"
  ON "zoo"."every-type"."id" = "t"."größe"
WHERE
  "t"."group by" <> 'lake.t''s'
GROUP BY
  "t"."group by";

-- check key (error): returns no rows
SELECT "group", count(*) AS row_count FROM "lake"."zoo_marts"."prices"
GROUP BY "group"
HAVING count(*) > 1 OR "group" IS NULL;

-- check not_null_group_most (error): returns no rows
SELECT * FROM "lake"."zoo_marts"."prices"
WHERE "group" IS NULL OR "most" IS NULL;

-- check unique_most (error): returns no rows
SELECT "most", count(*) AS row_count FROM "lake"."zoo_marts"."prices"
WHERE "most" IS NOT NULL
GROUP BY "most"
HAVING count(*) > 1;

-- check row_count (error): returns no rows
SELECT count(*) AS row_count FROM "lake"."zoo_marts"."prices"
HAVING count(*) < 1 OR count(*) > 1000;

-- check range_most (warn): returns no rows
SELECT * FROM "lake"."zoo_marts"."prices"
WHERE "most" < -1.5 OR "most" > 1000000;

-- check accepted_group (error): returns no rows
SELECT * FROM "lake"."zoo_marts"."prices"
WHERE "group" NOT IN ('it''s', 'b');

-- check in_the_lake (error): returns no rows
SELECT
  "mart"."group"
FROM "lake"."zoo_marts"."prices" AS "mart"
JOIN "lake"."zoo"."Select" AS "s"
  ON "s"."price" < "total";
