package io.lakehouse.debezium;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.HexFormat;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Bytes of the binary log, and text, against MySQL's text; the log's are its documentation's or a server's. */
class TemporalValuesTest {

  @ParameterizedTest
  @CsvSource({
    "800000, 0, 00:00:00.000000",
    "7fffff, 0, -00:00:01.000000",
    "7ffffeff, 2, -00:00:01.010000",
    "7ffffef6, 2, -00:00:01.100000",
    "7ffffe9d, 2, -00:00:01.990000",
    "7fffffce, 1, -00:00:00.500000",
    "7fffffec78, 3, -00:00:00.500000",
    "7fffffffffff, 6, -00:00:00.000001",
    "7ffffff85ee0, 6, -00:00:00.500000",
    "b46efb, 0, 838:59:59.000000",
    "4b9105, 0, -838:59:59.000000",
    "4b9105f0bdc1, 6, -838:59:58.999999",
    "80180a1234, 4, 01:32:10.466000",
    "81105f0f423f, 6, 17:01:31.999999",
  })
  void timeOfTheLog(String bytes, int digits, String text) {
    assertEquals(text, TemporalText.time(TemporalValues.logTime(hex(bytes), digits)));
  }

  /** The log adds the packed number to that of 00:00:00: every time goes in and comes out. */
  @Test
  void everyTimeOfTheLog() {
    long[] sizes = {0, 1, 10, 99, 100, 999_999, 1_000_000, 59_999_999, 3_600_000_000L, 3_020_399_000_000L};
    for (long size : sizes) {
      for (int sign = -1; sign <= 1; sign += 2) {
        Duration time = Duration.ofNanos(sign * size * 1000);
        assertEquals(time, TemporalValues.logTime(packed(time), 6));
      }
    }
  }

  private static byte[] packed(Duration time) {
    Duration size = time.abs();
    long whole = size.toHours() << 12 | (long) size.toMinutesPart() << 6 | size.toSecondsPart();
    long number = (whole << 24) + size.toNanosPart() / 1000;
    long stored = (time.isNegative() ? -number : number) + (0x800000L << 24);
    return HexFormat.of().parseHex(String.format("%012x", stored));
  }

  @ParameterizedTest
  @CsvSource({
    "000000, 0000-00-00",
    "0ad00f, 2024-00-10",
    "a0d00f, 2024-05-00",
    "aa0000, 0000-05-10",
    "210200, 0001-01-01",
    "4acd0c, 1638-10-10",
    "9f1f4e, 9999-12-31",
    "5fd00f, 2024-02-31",
    "5dd00f, 2024-02-29",
  })
  void dateOfTheLog(String bytes, String text) {
    assertEquals(text, TemporalText.date(TemporalValues.logDate(hex(bytes))));
  }

  @Test
  void realDatesAreDates() {
    assertEquals(LocalDate.of(2024, 2, 29), TemporalValues.logDate(hex("5dd00f")));
    assertEquals(ImpossibleDate.class, TemporalValues.logDate(hex("5fd00f")).getClass());
    assertEquals(ImpossibleDate.class, TemporalValues.logDate(hex("aa0000")).getClass());
  }

  @ParameterizedTest
  @CsvSource({
    "8000000000, 0, 0000-00-00 00:00:00",
    "800000c8b87b, 2, 0000-00-00 12:34:56.12",
    "fef3fe0000, 0, 9999-12-31 00:00:00",
  })
  void datetimeOfTheLog(String bytes, int digits, String text) {
    byte[] stored = hex(bytes);
    assertEquals(text, TemporalText.timestamp(TemporalValues.logDatetime(stored, digits), digits));
  }

  @Test
  void timestampOfTheLog() {
    assertEquals(ImpossibleDate.ZERO, TemporalValues.logTimestamp(hex("00000000"), 0));
    assertEquals(ImpossibleDate.ZERO, TemporalValues.logTimestamp(hex("00000000000000"), 6));
    assertEquals(
        LocalDateTime.of(1970, 1, 1, 0, 0, 1).atZone(ZoneOffset.UTC),
        TemporalValues.logTimestamp(hex("00000001"), 0));
    assertEquals(
        LocalDateTime.of(2038, 1, 19, 3, 14, 7, 999_999_000).atZone(ZoneOffset.UTC),
        TemporalValues.logTimestamp(hex("7fffffff0f423f"), 6));
  }

  @ParameterizedTest
  @CsvSource({
    "0000-00-00", "2024-00-10", "0000-05-10", "0001-01-01", "1582-10-10", "9999-12-31", "2023-02-30",
  })
  void dateAsText(String text) throws IOException {
    assertEquals(text, TemporalText.date(TemporalValues.date(ascii(text))));
  }

  @ParameterizedTest
  @CsvSource({
    "0000-00-00 00:00:00, 0",
    "0000-00-00 12:34:56.5, 1",
    "2024-05-00 23:59:59.999999, 6",
    "1582-10-10 12:34:56.123, 3",
    "0099-06-07 00:00:00.000001, 6",
  })
  void datetimeAsText(String text, int digits) throws IOException {
    assertEquals(text, TemporalText.timestamp(TemporalValues.datetime(ascii(text)), digits));
    assertEquals(text, TemporalText.timestamp(TemporalValues.timestamp(ascii(text)), digits));
  }

  @ParameterizedTest
  @CsvSource({"00:00:00", "-00:00:00.5", "-00:00:00.000001", "838:59:59", "-25:01:02.123456", "-99:00:00.75"})
  void timeAsText(String text) throws IOException {
    String full = text.contains(".") ? (text + "00000").replaceAll("(\\.\\d{6}).*", "$1") : text + ".000000";
    assertEquals(full, TemporalText.time(TemporalValues.time(ascii(text))));
  }

  @Test
  void yearAsText() {
    assertEquals(0, TemporalValues.year(ascii("0000")));
    assertEquals(2155, TemporalValues.year(ascii("2155")));
  }

  @Test
  void whatIsNoDateIsRefused() {
    assertThrows(IOException.class, () -> TemporalValues.date(ascii("2024-1-1")));
    assertThrows(IOException.class, () -> TemporalValues.datetime(ascii("2024-01-01")));
    assertThrows(IOException.class, () -> TemporalValues.time(ascii("1:2:3")));
  }

  private static byte[] hex(String digits) {
    return HexFormat.of().parseHex(digits.replace(" ", ""));
  }

  private static byte[] ascii(String text) {
    return text.getBytes(StandardCharsets.US_ASCII);
  }
}
