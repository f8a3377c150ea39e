-- mart:
--   description: Departure delays of each airline by hour of scheduled departure (UTC).
--   owner: team:operations
--   engines: [trino, doris]
--   refresh: "*/5 * * * *"
--   key: [carrier, scheduled_hour]
--   checks:
--     - rows: {min: 1}
--     - range: {column: share_delayed_over_15_minutes, min: 0, max: 1}
--     - name: no_flight_is_lost
--       description: The flights of all hours are the flights of the lake.
--       no_rows: >
--         SELECT m.flights, f.flights AS in_the_lake
--         FROM (SELECT sum(flights) AS flights FROM mart) AS m
--         CROSS JOIN (SELECT count(*) AS flights FROM lake.flights) AS f
--         WHERE m.flights <> f.flights
--     - name: airline_is_known
--       severity: warn
--       not_null: [airline]
SELECT
    f.carrier,
    a.name AS airline,
    date_trunc('hour', f.scheduled_departure) AS scheduled_hour,
    count(*) AS flights,
    count(f.departed_at) AS departed,
    round(avg(CAST(f.dep_delay AS double)), 1) AS average_delay_minutes,
    approx_percentile(f.dep_delay, 0.5) AS median_delay_minutes,
    approx_percentile(f.dep_delay, 0.9) AS p90_delay_minutes,
    round(
        CAST(count_if(f.dep_delay > 15) AS double) / nullif(count(f.departed_at), 0),
        3
    ) AS share_delayed_over_15_minutes
FROM lake.flights AS f
LEFT JOIN lake.airlines AS a ON a.carrier = f.carrier
GROUP BY f.carrier, a.name, date_trunc('hour', f.scheduled_departure)
