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
