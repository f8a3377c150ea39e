-- Departure delays of each airline by hour of scheduled departure (UTC).
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
