package io.lakehouse.debezium;

import com.github.shyiko.mysql.binlog.event.deserialization.ColumnType;
import com.github.shyiko.mysql.binlog.event.deserialization.json.JsonBinary;
import com.github.shyiko.mysql.binlog.event.deserialization.json.JsonFormatter;
import com.github.shyiko.mysql.binlog.io.ByteArrayInputStream;
import java.io.IOException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.Base64;

/**
 * JSON of the binary log as MySQL prints it, character by character.
 *
 * <p>Debezium's printing loses the sign and the seconds of times in JSON, what is binary, and whether a number is
 * floating.
 */
final class JsonText implements JsonFormatter {

  private final StringBuilder text = new StringBuilder();

  private JsonText() {}

  /**
   * @param binary a JSON value in MySQL's storage format
   */
  static String of(byte[] binary) throws IOException {
    if (binary.length == 0) {
      return "null"; // what MySQL itself takes an empty value for
    }
    JsonText printed = new JsonText();
    new Reader(binary).parse(printed);
    return printed.text.toString();
  }

  @Override
  public void beginObject(int size) {
    text.append('{');
  }

  @Override
  public void beginArray(int size) {
    text.append('[');
  }

  @Override
  public void endObject() {
    text.append('}');
  }

  @Override
  public void endArray() {
    text.append(']');
  }

  @Override
  public void nextEntry() {
    text.append(", ");
  }

  @Override
  public void name(String name) {
    value(name);
    text.append(": ");
  }

  @Override
  public void value(String value) {
    text.append('"');
    for (int i = 0; i < value.length(); i++) {
      char character = value.charAt(i);
      switch (character) {
        case '"' -> text.append("\\\"");
        case '\\' -> text.append("\\\\");
        case '\b' -> text.append("\\b");
        case '\f' -> text.append("\\f");
        case '\n' -> text.append("\\n");
        case '\r' -> text.append("\\r");
        case '\t' -> text.append("\\t");
        default -> {
          if (character < ' ') {
            text.append(String.format("\\u%04x", (int) character));
          } else {
            text.append(character);
          }
        }
      }
    }
    text.append('"');
  }

  @Override
  public void value(int value) {
    text.append(value);
  }

  @Override
  public void value(long value) {
    text.append(value);
  }

  @Override
  public void value(BigInteger value) {
    text.append(value);
  }

  @Override
  public void value(BigDecimal value) {
    text.append(value.toPlainString());
  }

  @Override
  public void value(double value) {
    text.append(DoubleText.inJson(value));
  }

  @Override
  public void value(boolean value) {
    text.append(value);
  }

  @Override
  public void valueNull() {
    text.append("null");
  }

  @Override
  public void valueOpaque(ColumnType type, byte[] value) {
    value("base64:type" + type.getCode() + ":" + Base64.getEncoder().encodeToString(value));
  }

  @Override
  public void valueYear(int year) {
    text.append(year);
  }

  // Dates and times come as text from the reader below, whose superclass cannot read all of them.

  @Override
  public void valueDate(int year, int month, int day) {
    throw new IllegalStateException();
  }

  @Override
  public void valueDatetime(int year, int month, int day, int hour, int min, int sec, int microSeconds) {
    throw new IllegalStateException();
  }

  @Override
  public void valueTime(int hour, int min, int sec, int microSeconds) {
    throw new IllegalStateException();
  }

  @Override
  public void valueTimestamp(long secondsPastEpoch, int microSeconds) {
    throw new IllegalStateException();
  }

  /** Reads dates and times: eight bytes, little-endian, of a number whose low 24 bits are millionths. */
  private static final class Reader extends JsonBinary {

    private final ByteArrayInputStream in;

    Reader(byte[] binary) {
      this(new ByteArrayInputStream(binary));
    }

    private Reader(ByteArrayInputStream in) {
      super(in);
      this.in = in;
    }

    @Override
    protected void parseDate(JsonFormatter to) throws IOException {
      to.value(date(in.readLong(8) >> 24 >> 17));
    }

    @Override
    protected void parseTime(JsonFormatter to) throws IOException {
      long packed = in.readLong(8);
      to.value((packed < 0 ? "-" : "") + clock(Math.abs(packed), 1023));
    }

    @Override
    protected void parseDatetime(JsonFormatter to) throws IOException {
      long packed = in.readLong(8);
      to.value(date(packed >> 24 >> 17) + " " + clock(packed, 31));
    }

    private static String date(long value) {
      long month = value >> 5;
      return String.format("%04d-%02d-%02d", month / 13, month % 13, value & 31);
    }

    private static String clock(long packed, int hours) {
      long value = packed >> 24;
      return String.format(
          "%02d:%02d:%02d.%06d", value >> 12 & hours, value >> 6 & 63, value & 63, packed & 0xffffff);
    }
  }
}
