-- The airline operations system: flights that left New York City (EWR, JFK, LGA) in 2013.
-- The connection chooses the database. All times are UTC. All but the last table are meant to be captured.
-- There are no foreign keys: four destinations and many aircraft of the real data are not in the reference tables.

CREATE TABLE IF NOT EXISTS airlines (
    carrier CHAR(2) NOT NULL COMMENT 'Two-character IATA code of the airline',
    name VARCHAR(64) NOT NULL COMMENT 'Name of the airline',
    PRIMARY KEY (carrier)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COMMENT = 'Airlines';

CREATE TABLE IF NOT EXISTS airports (
    faa CHAR(3) NOT NULL COMMENT 'FAA code of the airport',
    name VARCHAR(64) NOT NULL COMMENT 'Usual name of the airport',
    lat DOUBLE NOT NULL COMMENT 'Latitude in degrees',
    lon DOUBLE NOT NULL COMMENT 'Longitude in degrees, west is negative',
    alt INT NOT NULL COMMENT 'Altitude in feet',
    tz SMALLINT NULL COMMENT 'Standard time minus UTC, in hours',
    dst CHAR(1) NULL COMMENT 'Daylight saving: A as in the US, U unknown, N none',
    tzone VARCHAR(64) NULL COMMENT 'IANA time zone, NULL when not known',
    PRIMARY KEY (faa)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COMMENT = 'Airports';

CREATE TABLE IF NOT EXISTS planes (
    tailnum VARCHAR(8) NOT NULL COMMENT 'Tail number of the aircraft',
    year SMALLINT UNSIGNED NULL COMMENT 'Year of manufacture',
    type VARCHAR(64) NULL COMMENT 'Type of aircraft',
    manufacturer VARCHAR(64) NULL COMMENT 'Manufacturer',
    model VARCHAR(64) NULL COMMENT 'Model',
    engines TINYINT UNSIGNED NULL COMMENT 'Number of engines',
    seats SMALLINT UNSIGNED NULL COMMENT 'Number of seats',
    speed SMALLINT UNSIGNED NULL COMMENT 'Average cruising speed in miles per hour',
    engine VARCHAR(32) NULL COMMENT 'Kind of engine',
    PRIMARY KEY (tailnum)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COMMENT = 'Aircraft known to the FAA registry';

-- wind_speed and wind_gust are knots converted to miles per hour in binary floating point (10.357019999999999):
-- DOUBLE is the type that holds exactly these values. The other measures have few decimals and stay DECIMAL.
CREATE TABLE IF NOT EXISTS weather (
    origin CHAR(3) NOT NULL COMMENT 'Airport of the station: EWR, JFK or LGA',
    observed_at DATETIME NOT NULL COMMENT 'Hour of the observation',
    temp DECIMAL(5, 2) NULL COMMENT 'Temperature in degrees Fahrenheit',
    dewp DECIMAL(5, 2) NULL COMMENT 'Dew point in degrees Fahrenheit',
    humid DECIMAL(5, 2) NULL COMMENT 'Relative humidity in percent',
    wind_dir SMALLINT NULL COMMENT 'Wind direction in degrees',
    wind_speed DOUBLE NULL COMMENT 'Wind speed in miles per hour',
    wind_gust DOUBLE NULL COMMENT 'Speed of gusts in miles per hour',
    precip DECIMAL(5, 2) NULL COMMENT 'Precipitation in inches',
    pressure DECIMAL(6, 1) NULL COMMENT 'Sea level pressure in millibars',
    visib DECIMAL(5, 2) NULL COMMENT 'Visibility in miles',
    PRIMARY KEY (origin, observed_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COMMENT = 'Hourly weather at the three airports of New York City';

CREATE TABLE IF NOT EXISTS flights (
    id INT UNSIGNED NOT NULL COMMENT 'Number of the flight in the data set, from 1',
    carrier CHAR(2) NOT NULL COMMENT 'Airline that operates the flight',
    flight SMALLINT UNSIGNED NOT NULL COMMENT 'Flight number',
    tailnum VARCHAR(8) NULL COMMENT 'Tail number of the aircraft, NULL when none was assigned',
    origin CHAR(3) NOT NULL COMMENT 'Airport of departure: EWR, JFK or LGA',
    dest CHAR(3) NOT NULL COMMENT 'Airport of destination',
    flight_date DATE NOT NULL COMMENT 'Local (New York) date of the scheduled departure',
    scheduled_departure DATETIME NOT NULL COMMENT 'Scheduled departure',
    scheduled_arrival DATETIME NOT NULL COMMENT 'Scheduled arrival',
    departs_at DATETIME NOT NULL COMMENT 'Best known departure: scheduled, then expected, then actual',
    departed_at DATETIME NULL COMMENT 'Actual departure',
    arrived_at DATETIME NULL COMMENT 'Actual arrival',
    dep_delay SMALLINT NULL COMMENT 'Minutes of delay at departure, negative when early',
    arr_delay SMALLINT NULL COMMENT 'Minutes of delay at arrival, negative when early',
    air_time SMALLINT UNSIGNED NULL COMMENT 'Minutes in the air',
    distance SMALLINT UNSIGNED NULL COMMENT 'Distance between the airports in miles',
    status ENUM('scheduled', 'departed', 'landed') NOT NULL COMMENT 'What has happened so far',
    updated_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)
        COMMENT 'Last change of this row, by the clock of the database server',
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COMMENT = 'Flights, from schedule to landing';

-- One row, updated every few seconds by the prober: how long it takes to every place is how fresh the place is.
CREATE TABLE IF NOT EXISTS freshness_probe (
    id INT NOT NULL COMMENT 'Always 1',
    beat BIGINT NOT NULL COMMENT 'Number of the update, one more each time',
    written_at DATETIME(6) NOT NULL COMMENT 'When it was written, by the clock of the database server',
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COMMENT = 'Measures the seconds from commit to readable';

-- Bookkeeping of the replayer, not to be captured. A row is updated in the transactions it counts.
CREATE TABLE IF NOT EXISTS replay_progress (
    stream VARCHAR(32) NOT NULL COMMENT 'A day of flights (flights:2013-01-01) or a reference table (table:planes)',
    seed BIGINT NOT NULL COMMENT 'Seed of the day, 0 for a reference table',
    applied INT UNSIGNED NOT NULL COMMENT 'Operations or rows applied so far',
    total INT UNSIGNED NOT NULL COMMENT 'Operations or rows there are',
    PRIMARY KEY (stream)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COMMENT = 'How far the replay has come';
