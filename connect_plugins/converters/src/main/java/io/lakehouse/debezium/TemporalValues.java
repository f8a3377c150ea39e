package io.lakehouse.debezium;

import java.io.IOException;
import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.temporal.ChronoUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Dates and times from the bytes that MySQL sends: in the binary log, and as text.
 *
 * <p>Real ones become what Debezium works with ({@link LocalDate}, {@link LocalDateTime}, {@link ZonedDateTime} for
 * TIMESTAMP, {@link Duration} for TIME), all others an {@link ImpossibleDate}. Nothing becomes null.
 */
final class TemporalValues {

  private static final Pattern DATE = Pattern.compile("(\\d{4})-(\\d{2})-(\\d{2})");
  private static final Pattern MOMENT =
      Pattern.compile(DATE.pattern() + " (\\d{2}):(\\d{2}):(\\d{2})(?:\\.(\\d{1,6}))?");
  private static final Pattern TIME = Pattern.compile("(-?)(\\d{2,3}):(\\d{2}):(\\d{2})(?:\\.(\\d{1,6}))?");

  private TemporalValues() {}

  /** DATE of the binary log: three bytes, little-endian, of 15, 4 and 5 bits. */
  static Serializable logDate(byte[] bytes) {
    int value = bytes[0] & 0xff | (bytes[1] & 0xff) << 8 | (bytes[2] & 0xff) << 16;
    return date(value >> 9, value >> 5 & 15, value & 31);
  }

  /**
   * DATETIME of the binary log: five bytes, big-endian, and the fraction's.
   *
   * @param digits of the fraction
   */
  static Serializable logDatetime(byte[] bytes, int digits) {
    long value = bigEndian(bytes, 0, 5) - (1L << 39);
    int month = (int) (value >> 22);
    return moment(
        month / 13,
        month % 13,
        (int) (value >> 17) & 31,
        (int) (value >> 12) & 31,
        (int) (value >> 6) & 63,
        (int) value & 63,
        logMicros(bigEndian(bytes, 5, bytes.length - 5), digits));
  }

  /**
   * TIMESTAMP of the binary log: four bytes of seconds, big-endian, and the fraction's.
   *
   * @param digits of the fraction
   */
  static Serializable logTimestamp(byte[] bytes, int digits) {
    long seconds = bigEndian(bytes, 0, 4);
    int micros = logMicros(bigEndian(bytes, 4, bytes.length - 4), digits);
    if (seconds == 0 && micros == 0) {
      return ImpossibleDate.ZERO;
    }
    return ZonedDateTime.ofInstant(
        Instant.ofEpochSecond(seconds).plus(micros, ChronoUnit.MICROS), ZoneOffset.UTC);
  }

  /**
   * TIME of the binary log: three bytes and the fraction's, together one big-endian number. It is kept as its
   * distance from the number of 00:00:00, so a negative time's fraction is part of what is negated.
   *
   * @param digits of the fraction
   */
  static Duration logTime(byte[] bytes, int digits) {
    int fractionBits = 8 * (bytes.length - 3);
    long value = bigEndian(bytes, 0, bytes.length) - (0x800000L << fractionBits);
    long size = Math.abs(value);
    long whole = size >> fractionBits;
    int micros = logMicros(size & (1L << fractionBits) - 1, digits);
    return time(value < 0, whole >> 12 & 1023, whole >> 6 & 63, whole & 63, micros);
  }

  /** Bytes that a fraction of so many digits takes in the binary log. */
  static int logFractionBytes(int digits) {
    return (digits + 1) / 2;
  }

  /** DATE of a result set. */
  static Object date(byte[] bytes) throws IOException {
    Matcher match = match(DATE, bytes);
    return date(number(match, 1), number(match, 2), number(match, 3));
  }

  /** DATETIME of a result set. */
  static Object datetime(byte[] bytes) throws IOException {
    Matcher match = match(MOMENT, bytes);
    return moment(
        number(match, 1),
        number(match, 2),
        number(match, 3),
        number(match, 4),
        number(match, 5),
        number(match, 6),
        micros(match.group(7)));
  }

  /** TIMESTAMP of a result set whose session is in UTC. */
  static Object timestamp(byte[] bytes) throws IOException {
    Object value = datetime(bytes);
    return value instanceof LocalDateTime moment ? moment.atZone(ZoneOffset.UTC) : value;
  }

  /** TIME of a result set. */
  static Duration time(byte[] bytes) throws IOException {
    Matcher match = match(TIME, bytes);
    return time(
        !match.group(1).isEmpty(),
        number(match, 2),
        number(match, 3),
        number(match, 4),
        micros(match.group(5)));
  }

  /** YEAR of a result set: 0, or 1901 to 2155. */
  static int year(byte[] bytes) {
    return Integer.parseInt(new String(bytes, StandardCharsets.US_ASCII));
  }

  private static Serializable date(int year, int month, int day) {
    try {
      // Java's calendar has a year 0; neither ISO 8601's four digits nor SQL's DATE begin before year 1.
      return year == 0 ? new ImpossibleDate(0, month, day, 0, 0, 0, 0) : LocalDate.of(year, month, day);
    } catch (DateTimeException impossible) {
      return new ImpossibleDate(year, month, day, 0, 0, 0, 0);
    }
  }

  private static Serializable moment(
      int year, int month, int day, int hour, int minute, int second, int micros) {
    return date(year, month, day) instanceof LocalDate date
        ? date.atTime(hour, minute, second, micros * 1000)
        : new ImpossibleDate(year, month, day, hour, minute, second, micros);
  }

  private static Duration time(boolean negative, long hours, long minutes, long seconds, int micros) {
    Duration size =
        Duration.ofSeconds(hours * 3600 + minutes * 60 + seconds).plus(micros, ChronoUnit.MICROS);
    return negative ? size.negated() : size;
  }

  /** The log keeps an even number of digits: 1 and 2 as hundredths, 3 and 4 as 1/10,000, 5 and 6 as millionths. */
  private static int logMicros(long fraction, int digits) {
    int scale =
        switch (logFractionBytes(digits)) {
          case 0 -> 0;
          case 1 -> 10_000;
          case 2 -> 100;
          default -> 1;
        };
    return (int) fraction * scale;
  }

  private static int micros(String digits) {
    return digits == null ? 0 : Integer.parseInt((digits + "00000").substring(0, 6));
  }

  private static Matcher match(Pattern pattern, byte[] bytes) throws IOException {
    String text = new String(bytes, StandardCharsets.US_ASCII);
    Matcher match = pattern.matcher(text);
    if (!match.matches()) {
      throw new IOException("'" + text + "' is not what MySQL prints of a date or time");
    }
    return match;
  }

  private static int number(Matcher match, int group) {
    return Integer.parseInt(match.group(group));
  }

  private static long bigEndian(byte[] bytes, int from, int length) {
    long value = 0;
    for (int i = from; i < from + length; i++) {
      value = value << 8 | bytes[i] & 0xff;
    }
    return value;
  }
}
