package io.lakehouse.debezium;

import io.debezium.DebeziumException;
import io.debezium.connector.mysql.MySqlConnectorConfig;
import io.debezium.connector.mysql.jdbc.MySqlValueConverters;
import io.debezium.relational.Column;
import io.debezium.relational.ValueConverter;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.Charset;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import org.apache.kafka.connect.data.Field;
import org.apache.kafka.connect.data.SchemaBuilder;

/**
 * Values as MySQL has them.
 *
 * <p>What differs from Debezium's: TIME is MySQL's text with six digits of fraction. An impossible date is MySQL's
 * text, which a reader of ISO 8601 refuses, never NULL and never another date. Years below 100 and YEAR 0 stay.
 * JSON of the binary log is printed as MySQL prints it. Members of ENUM and SET are the same in snapshot and stream.
 * Text is decoded without replacement characters. NULL in a column that cannot hold it is an error.
 */
final class ExactValueConverters extends MySqlValueConverters {

  ExactValueConverters(MySqlConnectorConfig config) {
    super(
        config.getDecimalMode(),
        config.getTemporalPrecisionMode(),
        config.getBigIntUnsignedHandlingMode().asBigIntUnsignedMode(),
        config.binaryHandlingMode(),
        temporal -> temporal, // the default takes the year 69 for 2069
        config.getEventConvertingFailureHandlingMode(),
        config.getServiceRegistry());
  }

  @Override
  public SchemaBuilder schemaBuilder(Column column) {
    return is(column, "TIME") ? SchemaBuilder.string() : super.schemaBuilder(column);
  }

  @Override
  public ValueConverter converter(Column column, Field field) {
    if (is(column, "TIME")) {
      return value -> timeText(column, field, value);
    }
    ValueConverter converter = super.converter(column, field);
    return switch (column.typeName().toUpperCase(Locale.ROOT)) {
      case "DATE" -> value -> value instanceof ImpossibleDate
          ? TemporalText.date(value)
          : converter.convert(value);
      case "DATETIME", "TIMESTAMP" -> value -> value instanceof ImpossibleDate
          ? TemporalText.timestamp(value, digits(column))
          : converter.convert(value);
      default -> converter;
    };
  }

  /** Digits of the second's fraction that a column has. */
  static int digits(Column column) {
    return Math.max(0, column.length()); // -1: none stated
  }

  private Object timeText(Column column, Field field, Object value) {
    return convertValue(
        column,
        field,
        value,
        null,
        receiver -> {
          if (value instanceof Duration time) {
            receiver.deliver(TemporalText.time(time));
          }
        });
  }

  @Override
  protected Object convertYearToInt(Column column, Field field, Object value) {
    return convertValue(
        column,
        field,
        value,
        null,
        receiver -> {
          if (value instanceof Number year) {
            receiver.deliver(year.intValue());
          } else if (value instanceof String year) { // a default in a table's definition
            receiver.deliver(Integer.valueOf(year.strip()));
          }
        });
  }

  @Override
  protected Object convertJson(Column column, Field field, Object value) {
    if (!(value instanceof byte[] binary)) {
      return super.convertJson(column, field, value); // a snapshot's: already MySQL's text
    }
    try {
      return JsonText.of(binary);
    } catch (IOException | RuntimeException problem) {
      throw failure(column, "JSON of the binary log cannot be read: " + problem.getMessage());
    }
  }

  @Override
  protected Object convertString(Column column, Field field, Charset charset, Object value) {
    if (!(value instanceof byte[] bytes)) {
      return super.convertString(column, field, charset, value);
    }
    try {
      return StrictText.decode(bytes, charset);
    } catch (CharacterCodingException problem) {
      throw failure(column, "its bytes are no text of the character set " + column.charsetName());
    }
  }

  @Override
  protected List<String> extractEnumAndSetOptions(Column column) {
    return OptionText.of(column.enumValues());
  }

  @Override
  protected Object convertValue(
      Column column, Field field, Object value, Object fallback, io.debezium.jdbc.ValueConversionCallback to) {
    if (value == null && !column.isOptional()) {
      throw failure(column, "it is NULL where the column is NOT NULL");
    }
    return super.convertValue(column, field, value, fallback, to);
  }

  /** Debezium keeps an error's cause only, and names the column itself. */
  private static DebeziumException failure(Column column, String problem) {
    String message = "column " + column.name() + " of type " + column.typeName() + ": " + problem;
    return new DebeziumException(message, new DebeziumException(message));
  }

  private static boolean is(Column column, String type) {
    return type.equalsIgnoreCase(column.typeName());
  }
}
