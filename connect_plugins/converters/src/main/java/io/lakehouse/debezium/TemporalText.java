package io.lakehouse.debezium;

import java.time.Duration;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;

/** The text of dates and times as MySQL prints them, in UTC. */
final class TemporalText {

  private static final int NANOS_PER_MICRO = 1000;

  private TemporalText() {}

  /** {@code [-]HH:MM:SS.ffffff}: hours have two digits or more, the fraction always six. */
  static String time(Duration time) {
    Duration size = time.abs();
    return String.format(
        "%s%02d:%02d:%02d.%06d",
        time.isNegative() ? "-" : "",
        size.toHours(),
        size.toMinutesPart(),
        size.toSecondsPart(),
        size.toNanosPart() / NANOS_PER_MICRO);
  }

  /** {@code YYYY-MM-DD}. */
  static String date(Object value) {
    if (value instanceof LocalDate date) {
      return date(date.getYear(), date.getMonthValue(), date.getDayOfMonth());
    }
    if (value instanceof ImpossibleDate date) {
      return date(date.year(), date.month(), date.day());
    }
    throw unknown(value);
  }

  /**
   * {@code YYYY-MM-DD HH:MM:SS[.f]}.
   *
   * @param digits digits of the fraction, 0 to 6; the value has no more
   */
  static String timestamp(Object value, int digits) {
    if (value instanceof ZonedDateTime time) {
      return timestamp(time.withZoneSameInstant(ZoneOffset.UTC).toLocalDateTime(), digits);
    }
    if (value instanceof LocalDateTime time) {
      return date(time.getYear(), time.getMonthValue(), time.getDayOfMonth())
          + clock(
              time.getHour(), time.getMinute(), time.getSecond(), time.getNano() / NANOS_PER_MICRO, digits);
    }
    if (value instanceof ImpossibleDate time) {
      return date(time.year(), time.month(), time.day())
          + clock(time.hour(), time.minute(), time.second(), time.micros(), digits);
    }
    throw unknown(value);
  }

  private static String date(int year, int month, int day) {
    return String.format("%04d-%02d-%02d", year, month, day);
  }

  private static String clock(int hour, int minute, int second, int micros, int digits) {
    String whole = String.format(" %02d:%02d:%02d", hour, minute, second);
    return digits == 0 ? whole : whole + "." + String.format("%06d", micros).substring(0, digits);
  }

  private static IllegalArgumentException unknown(Object value) {
    return new IllegalArgumentException(value.getClass().getName() + " is no date or time of MySQL");
  }
}
