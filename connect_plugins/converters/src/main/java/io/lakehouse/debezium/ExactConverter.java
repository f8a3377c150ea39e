package io.lakehouse.debezium;

import io.debezium.spi.converter.CustomConverter;
import io.debezium.spi.converter.RelationalColumn;
import java.time.temporal.Temporal;
import java.util.Arrays;
import java.util.Locale;
import java.util.Properties;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.connect.data.SchemaBuilder;

/**
 * DATE, DATETIME and TIMESTAMP columns whose values travel as MySQL prints them, impossible ones included.
 *
 * <p>Configuration: {@code converters=exact}, {@code exact.type=io.lakehouse.debezium.ExactConverter},
 * {@code exact.text.columns=database.table.column,...}. Only {@link ExactMySqlConnector} gives it impossible dates;
 * any other has lost them before.
 */
public final class ExactConverter implements CustomConverter<SchemaBuilder, RelationalColumn> {

  private Set<String> columns = Set.of();

  @Override
  public void configure(Properties properties) {
    columns =
        Arrays.stream(properties.getProperty("text.columns", "").split(","))
            .map(String::strip)
            .filter(name -> !name.isEmpty())
            .collect(Collectors.toSet());
  }

  @Override
  public void converterFor(RelationalColumn column, ConverterRegistration<SchemaBuilder> registration) {
    if (!columns.contains(column.dataCollection() + "." + column.name())) {
      return;
    }
    switch (column.typeName().toUpperCase(Locale.ROOT)) {
      case "DATE" -> registration.register(
          SchemaBuilder.string(), value -> isDate(value) ? TemporalText.date(value) : notADate(column, value));
      case "DATETIME", "TIMESTAMP" -> {
        int digits = column.length().orElse(0);
        registration.register(
            SchemaBuilder.string(),
            value -> isDate(value) ? TemporalText.timestamp(value, digits) : notADate(column, value));
      }
      default -> throw new IllegalArgumentException(
          "text.columns names " + column.name() + ", which is " + column.typeName() + " and no date");
    }
  }

  private static boolean isDate(Object value) {
    return value instanceof Temporal || value instanceof ImpossibleDate;
  }

  private static Object notADate(RelationalColumn column, Object value) {
    if (value == null && !column.isOptional()) {
      String problem = "column " + column.name() + " is NULL where it is NOT NULL";
      throw new IllegalStateException(problem, new IllegalStateException(problem));
    }
    if (value == null || value instanceof String) { // NULL, or the column's default in ISO 8601
      return value;
    }
    throw new IllegalArgumentException(
        "column " + column.name() + ": " + value.getClass().getName() + " is no date or time");
  }
}
