-- Names that need quotes, a column named by its schema, a common table expression that hides no table.
WITH t AS (SELECT "group by", "größe", price FROM lake."Select")
SELECT t."group by" AS "group", max(lake."every-type".d_decimal) AS most, sum(t.price) AS total
FROM t JOIN lake."every-type" ON lake."every-type".id = t."größe"
WHERE t."group by" <> 'lake.t''s'
GROUP BY t."group by"
