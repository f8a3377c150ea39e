-- mart:
--   description: >
--     How long after landing each aircraft leaves New York again, flight by flight, and whether a late landing
--     made it late. The flight back to New York is not in the data, so the minutes hold it; what is left after
--     a flight back as long as the one out is estimated.
--   owner: team:fleet
--   engines: [trino, doris]
--   refresh: "*/10 * * * *"
--   key: [flight_id]
--   checks:
--     - not_null: [tailnum, landed_at]
--     - range: {column: minutes_until_next_departure, min: 0}
--       severity: warn
--       name: it_lands_before_it_leaves
--     - name: every_landing_is_there
--       no_rows: >
--         SELECT f.id FROM lake.flights AS f LEFT JOIN mart ON mart.flight_id = f.id
--         WHERE f.arrived_at IS NOT NULL AND f.tailnum IS NOT NULL AND mart.flight_id IS NULL
SELECT
    t.flight_id,
    t.tailnum,
    t.carrier,
    p.manufacturer,
    p.model,
    t.dest AS landed_in,
    t.landed_at,
    t.arrival_delay_minutes,
    t.next_flight_id,
    t.next_departed_from,
    t.next_departure_at,
    t.next_departure_delay_minutes,
    date_diff('minute', t.landed_at, t.next_departure_at) AS minutes_until_next_departure,
    date_diff('minute', t.landed_at, t.next_departure_at) - t.air_time AS estimated_ground_minutes
FROM (
    SELECT
        f.id AS flight_id,
        f.tailnum,
        f.carrier,
        f.dest,
        f.arrived_at AS landed_at,
        f.arr_delay AS arrival_delay_minutes,
        f.air_time,
        lead(f.id) OVER (PARTITION BY f.tailnum ORDER BY f.departs_at, f.id) AS next_flight_id,
        lead(f.origin) OVER (PARTITION BY f.tailnum ORDER BY f.departs_at, f.id) AS next_departed_from,
        lead(f.departs_at) OVER (PARTITION BY f.tailnum ORDER BY f.departs_at, f.id) AS next_departure_at,
        lead(f.dep_delay) OVER (PARTITION BY f.tailnum ORDER BY f.departs_at, f.id)
            AS next_departure_delay_minutes
    FROM lake.flights AS f
    WHERE f.tailnum IS NOT NULL
) AS t
LEFT JOIN lake.planes AS p ON p.tailnum = t.tailnum
WHERE t.landed_at IS NOT NULL
