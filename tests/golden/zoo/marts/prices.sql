-- Comments may stand above the header.
-- mart:
--   description: It's what things cost.
--   engines: [trino, doris]
--   key: [group]
--   checks:
--     - not_null: [group, most]
--     - unique: [most]
--     - rows: {min: 1, max: 1000}
--     - range: {column: most, min: -1.5, max: 1000000}
--       severity: warn
--     - accepted: {column: group, values: ["it's", b]}
--     - name: in_the_lake
--       no_rows: SELECT mart."group" FROM mart JOIN lake."Select" AS s ON s.price < total

-- Names that need quotes, a column named by its schema, a common table expression that hides no table.
WITH t AS (SELECT "group by", "größe", price FROM lake."Select")
SELECT t."group by" AS "group", max(lake."every-type".d_decimal) AS most, sum(t.price) AS total
FROM t JOIN lake."every-type" ON lake."every-type".id = t."größe"
WHERE t."group by" <> 'lake.t''s'
GROUP BY t."group by"
