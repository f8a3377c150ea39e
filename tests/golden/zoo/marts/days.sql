-- mart:
--   description: Partitioned, over every kind of column.
--   automation: by_hand
--   partition: day
SELECT date(e.t_datetime) AS day, e.*, s.price
FROM lake."every-type" AS e
LEFT JOIN lake."Select" AS s ON s."größe" = e.id
