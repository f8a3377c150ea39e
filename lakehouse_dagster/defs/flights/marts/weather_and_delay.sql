-- mart:
--   description: >
--     What the weather at the hour of scheduled departure costs in minutes, per airport and kind of weather.
--   owner: team:operations
--   engines: [trino, doris]
--   refresh: "*/10 * * * *"
--   key: [origin, weather]
--   checks:
--     - accepted:
--         column: weather
--         values: [poor visibility, rain or snow, windy, fair, not observed]
--     - range: {column: share_late, min: 0, max: 1}
--     - name: every_departure_counts_once
--       description: The departures of all kinds of weather are the departures of the lake.
--       no_rows: >
--         SELECT m.departed, f.departed AS in_the_lake
--         FROM (SELECT sum(departed) AS departed FROM mart) AS m
--         CROSS JOIN (SELECT count(dep_delay) AS departed FROM lake.flights) AS f
--         WHERE m.departed <> f.departed
SELECT
    o.origin,
    o.weather,
    count(*) AS departed,
    count(DISTINCT o.scheduled_hour) AS hours,
    round(CAST(sum(o.dep_delay) AS double) / count(*), 1) AS average_delay_minutes,
    round(CAST(count_if(o.dep_delay >= 15) AS double) / count(*), 3) AS share_late,
    max(o.dep_delay) AS longest_delay_minutes
FROM (
    SELECT
        f.origin,
        f.dep_delay,
        date_trunc('hour', f.scheduled_departure) AS scheduled_hour,
        CASE
            WHEN w.origin IS NULL THEN 'not observed'
            WHEN w.visib < 3 THEN 'poor visibility'
            WHEN w.precip > 0 THEN 'rain or snow'
            WHEN w.wind_speed >= 20 THEN 'windy'
            ELSE 'fair'
        END AS weather
    FROM lake.flights AS f
    LEFT JOIN lake.weather AS w
        ON w.origin = f.origin AND w.observed_at = date_trunc('hour', f.scheduled_departure)
    WHERE f.dep_delay IS NOT NULL
) AS o
GROUP BY o.origin, o.weather
