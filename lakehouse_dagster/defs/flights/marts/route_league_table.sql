-- mart:
--   description: >
--     All routes out of New York, ranked by number of flights and, from 10 landings on, by delay on arrival;
--     the most punctual route is first.
--   owner: team:network
--   engines: [trino, doris]
--   refresh: "*/10 * * * *"
--   key: [origin, dest]
--   checks:
--     - rows: {min: 1}
--     - range: {column: rank_by_flights, min: 1}
--     - not_null: [destination]
--       severity: warn
--       description: Four destinations are not in the source's table of airports.
--     - name: flights_add_up
--       no_rows: >
--         SELECT m.flights, f.flights AS in_the_lake
--         FROM (SELECT sum(flights) AS flights FROM mart) AS m
--         CROSS JOIN (SELECT count(*) AS flights FROM lake.flights) AS f
--         WHERE m.flights <> f.flights
SELECT
    r.origin,
    r.dest,
    a.name AS destination,
    r.flights,
    r.landed,
    r.carriers,
    r.distance_miles,
    r.average_arrival_delay_minutes,
    rank() OVER (ORDER BY r.flights DESC) AS rank_by_flights,
    CASE
        WHEN r.landed >= 10
            THEN rank() OVER (
                PARTITION BY CASE WHEN r.landed >= 10 THEN 1 ELSE 0 END
                ORDER BY r.average_arrival_delay_minutes
            )
    END AS rank_by_delay
FROM (
    SELECT
        f.origin,
        f.dest,
        count(*) AS flights,
        count(f.arr_delay) AS landed,
        count(DISTINCT f.carrier) AS carriers,
        max(f.distance) AS distance_miles,
        round(CAST(sum(f.arr_delay) AS double) / nullif(count(f.arr_delay), 0), 1)
            AS average_arrival_delay_minutes
    FROM lake.flights AS f
    GROUP BY f.origin, f.dest
) AS r
LEFT JOIN lake.airports AS a ON a.faa = r.dest
