package io.lakehouse.debezium;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.debezium.data.Envelope;
import io.debezium.transforms.ExtractNewRecordState;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.connect.data.Field;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaBuilder;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.transforms.Transformation;
import org.junit.jupiter.api.Test;

class TruncateRecordTest {

  private static final Schema SOURCE =
      SchemaBuilder.struct()
          .name("io.debezium.connector.mysql.Source")
          .field("file", Schema.STRING_SCHEMA)
          .field("pos", Schema.INT64_SCHEMA)
          .field("row", Schema.INT32_SCHEMA)
          .field("gtid", Schema.OPTIONAL_STRING_SCHEMA)
          .field("ts_us", Schema.OPTIONAL_INT64_SCHEMA)
          .field("snapshot", SchemaBuilder.string().optional().defaultValue("false").build())
          .build();
  private static final Schema ROW =
      SchemaBuilder.struct().name("p.d.t.Value").field("id", Schema.INT32_SCHEMA).optional().build();
  private static final Envelope ENVELOPE =
      Envelope.fromSchema(
          SchemaBuilder.struct()
              .name("p.d.t.Envelope")
              .field("before", ROW)
              .field("after", ROW)
              .field("source", SOURCE)
              .field("op", Schema.STRING_SCHEMA)
              .field("ts_ms", Schema.OPTIONAL_INT64_SCHEMA)
              .field("ts_us", Schema.OPTIONAL_INT64_SCHEMA)
              .field("ts_ns", Schema.OPTIONAL_INT64_SCHEMA)
              .build());
  private static final Map<String, String> FLATTENING =
      Map.of(
          "add.fields", "op,source.file,source.pos,source.row,source.gtid,source.ts_us,source.snapshot",
          "delete.tombstone.handling.mode", "rewrite",
          "replace.null.with.default", "false");

  @Test
  void aTruncateTellsWhereItHappened() {
    SourceRecord found = transformed(ENVELOPE.truncate(source(), Instant.EPOCH));
    assertEquals("p.d.t", found.topic());
    assertNull(found.key());
    assertNull(found.keySchema());
    Struct value = (Struct) found.value();
    assertEquals(
        List.of(
            "__op",
            "__deleted",
            "__source_file",
            "__source_pos",
            "__source_row",
            "__source_gtid",
            "__source_ts_us",
            "__source_snapshot"),
        value.schema().fields().stream().map(Field::name).toList());
    assertEquals("t", value.getString("__op"));
    assertEquals("false", value.getString("__deleted"));
    assertEquals("binlog.000007", value.getString("__source_file"));
    assertEquals(4711L, value.getInt64("__source_pos"));
    assertEquals(0, value.getInt32("__source_row"));
    assertNull(value.getString("__source_gtid"));
    assertEquals(1_700_000_000_000_000L, value.getInt64("__source_ts_us"));
    value.validate();
  }

  @Test
  void theFlatteningPassesItOn() {
    SourceRecord truncate = transformed(ENVELOPE.truncate(source(), Instant.EPOCH));
    try (ExtractNewRecordState<SourceRecord> flattening = new ExtractNewRecordState<>()) {
      flattening.configure(FLATTENING);
      assertSame(truncate, flattening.apply(truncate));
      assertNull(
          flattening.apply(record(ENVELOPE.truncate(source(), Instant.EPOCH))), "by itself it drops it");
    }
  }

  @Test
  void everythingElseIsPassedOn() {
    Struct row = new Struct(ROW).put("id", 1);
    for (Struct value :
        List.of(
            ENVELOPE.create(row, source(), Instant.EPOCH),
            ENVELOPE.delete(row, source(), Instant.EPOCH),
            new Struct(SchemaBuilder.struct().field("op", Schema.STRING_SCHEMA).build()).put("op", "t"))) {
      SourceRecord given = record(value);
      assertSame(given, configured("file").apply(given));
    }
    SourceRecord tombstone = new SourceRecord(Map.of(), Map.of(), "p.d.t", null, null);
    assertSame(tombstone, configured("file").apply(tombstone));
  }

  @Test
  void aFieldThatIsNotThereIsNamed() {
    TruncateRecord<SourceRecord> transform = configured("file,nothing");
    SourceRecord truncate = record(ENVELOPE.truncate(source(), Instant.EPOCH));
    DataException told = assertThrows(DataException.class, () -> transform.apply(truncate));
    assertTrue(told.getMessage().contains("nothing"));
    assertThrows(ConfigException.class, () -> new TruncateRecord<SourceRecord>().configure(Map.of()));
  }

  @Test
  void connectFindsIt() {
    assertTrue(
        ServiceLoader.load(Transformation.class).stream()
            .anyMatch(found -> found.type().getName().equals(TruncateRecord.class.getName())));
  }

  private static SourceRecord transformed(Struct event) {
    return configured("file,pos,row,gtid,ts_us,snapshot").apply(record(event));
  }

  private static TruncateRecord<SourceRecord> configured(String fields) {
    TruncateRecord<SourceRecord> transform = new TruncateRecord<>();
    transform.configure(Map.of("source.fields", fields));
    return transform;
  }

  private static SourceRecord record(Struct value) {
    return new SourceRecord(Map.of(), Map.of(), "p.d.t", null, null, null, value.schema(), value);
  }

  private static Struct source() {
    return new Struct(SOURCE)
        .put("file", "binlog.000007")
        .put("pos", 4711L)
        .put("row", 0)
        .put("ts_us", 1_700_000_000_000_000L);
  }
}
