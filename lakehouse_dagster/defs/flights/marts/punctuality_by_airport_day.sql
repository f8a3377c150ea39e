-- mart:
--   description: >
--     How punctual departures and arrivals were, per airport of departure and local day. A flight is late from
--     15 minutes on.
--   owner: team:operations
--   engines: [trino, doris]
--   refresh: "*/5 * * * *"
--   key: [origin, flight_date]
--   partition: flight_date
--   checks:
--     - not_null: [scheduled, departed, landed]
--     - range: {column: departed_on_time, min: 0, max: 1}
--     - range: {column: arrived_on_time, min: 0, max: 1}
--     - accepted: {column: origin, values: [EWR, JFK, LGA]}
--     - name: departed_were_scheduled
--       description: No more flights departed than were scheduled, no more landed than departed.
--       no_rows: SELECT * FROM mart WHERE departed > scheduled OR landed > departed
SELECT
    f.flight_date,
    f.origin,
    p.name AS airport,
    count(*) AS scheduled,
    count(f.departed_at) AS departed,
    count(f.arrived_at) AS landed,
    round(CAST(count_if(f.dep_delay < 15) AS double) / nullif(count(f.departed_at), 0), 3) AS departed_on_time,
    round(CAST(count_if(f.arr_delay < 15) AS double) / nullif(count(f.arrived_at), 0), 3) AS arrived_on_time,
    round(CAST(sum(f.dep_delay) AS double) / nullif(count(f.dep_delay), 0), 1) AS average_departure_delay_minutes,
    round(CAST(sum(f.arr_delay) AS double) / nullif(count(f.arr_delay), 0), 1) AS average_arrival_delay_minutes,
    max(f.dep_delay) AS longest_departure_delay_minutes
FROM lake.flights AS f
LEFT JOIN lake.airports AS p ON p.faa = f.origin
GROUP BY f.flight_date, f.origin, p.name
