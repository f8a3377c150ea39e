package io.lakehouse.debezium;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.debezium.spi.converter.CustomConverter.Converter;
import io.debezium.spi.converter.RelationalColumn;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.OptionalInt;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.connect.data.Schema;
import org.junit.jupiter.api.Test;

class ExactConverterTest {

  private static final LocalDateTime MOMENT = LocalDateTime.of(1582, 10, 10, 1, 2, 3, 456_000_000);

  @Test
  void textIsMysqls() {
    Converter date = converter("DATE", -1, true);
    assertEquals("0099-06-07", date.convert(LocalDate.of(99, 6, 7)));
    assertEquals("2024-05-00", date.convert(new ImpossibleDate(2024, 5, 0, 0, 0, 0, 0)));
    assertNull(date.convert(null));
    Converter datetime = converter("DATETIME", 3, true);
    assertEquals("1582-10-10 01:02:03.456", datetime.convert(MOMENT));
    assertEquals("0000-00-00 00:00:00.000", datetime.convert(ImpossibleDate.ZERO));
    Converter timestamp = converter("TIMESTAMP", -1, true);
    assertEquals("1582-10-10 01:02:03", timestamp.convert(MOMENT.atZone(ZoneOffset.UTC)));
  }

  @Test
  void nullWhereNoneCanBeIsAnError() {
    Converter date = converter("DATE", -1, false);
    assertThrows(IllegalStateException.class, () -> date.convert(null));
    assertThrows(IllegalArgumentException.class, () -> date.convert(1));
  }

  @Test
  void onlyTheNamedColumns() {
    assertNull(registered(column("other", "DATE", -1, true)));
    assertThrows(IllegalArgumentException.class, () -> registered(column("c", "INT", -1, true)));
  }

  private static Converter converter(String type, int length, boolean optional) {
    return registered(column("c", type, length, optional));
  }

  private static Converter registered(RelationalColumn column) {
    ExactConverter exact = new ExactConverter();
    Properties properties = new Properties();
    properties.setProperty("text.columns", "d.t.c, d.t.e");
    exact.configure(properties);
    AtomicReference<Converter> found = new AtomicReference<>();
    exact.converterFor(
        column,
        (schema, converter) -> {
          assertEquals(Schema.Type.STRING, schema.type());
          found.set(converter);
        });
    return found.get();
  }

  private static RelationalColumn column(String name, String type, int length, boolean optional) {
    return new RelationalColumn() {
      @Override
      public int jdbcType() {
        return 0;
      }

      @Override
      public int nativeType() {
        return 0;
      }

      @Override
      public String typeName() {
        return type;
      }

      @Override
      public String typeExpression() {
        return type;
      }

      @Override
      public OptionalInt length() {
        return length < 0 ? OptionalInt.empty() : OptionalInt.of(length);
      }

      @Override
      public OptionalInt scale() {
        return OptionalInt.empty();
      }

      @Override
      public boolean isOptional() {
        return optional;
      }

      @Override
      public Object defaultValue() {
        return null;
      }

      @Override
      public boolean hasDefaultValue() {
        return false;
      }

      @Override
      public String name() {
        return name;
      }

      @Override
      public String dataCollection() {
        return "d.t";
      }
    };
  }
}
