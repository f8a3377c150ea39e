package io.lakehouse.debezium;

import io.debezium.data.Envelope;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.connector.ConnectRecord;
import org.apache.kafka.connect.data.Field;
import org.apache.kafka.connect.data.Schema;
import org.apache.kafka.connect.data.SchemaBuilder;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.errors.DataException;
import org.apache.kafka.connect.transforms.Transformation;

/**
 * Flattens the event of a TRUNCATE, and passes on everything else as it is. Stands before Debezium's own flattening,
 * which would drop the event and passes on what is flat already.
 *
 * <p>The record has no key and no column of the table: {@code __op} is {@code t}, {@code __deleted} is {@code false},
 * and {@code __source_*} tell where it happened. Configuration: {@code source.fields}, fields of the event's
 * {@code source} in the order in which they are wanted.
 *
 * @param <R> kind of record
 */
public final class TruncateRecord<R extends ConnectRecord<R>> implements Transformation<R> {

  private static final String SOURCE_FIELDS = "source.fields";
  private static final ConfigDef CONFIG =
      new ConfigDef()
          .define(
              SOURCE_FIELDS,
              ConfigDef.Type.LIST,
              ConfigDef.NO_DEFAULT_VALUE,
              ConfigDef.Importance.HIGH,
              "Fields of the event's source that the record has as __source_<field>.");

  /** Not the name of an envelope: by that the flattening knows what it has to flatten. */
  private static final String SCHEMA = "io.lakehouse.debezium.Truncate";

  private static final String PREFIX = "__";

  private List<String> sourceFields = List.of();

  @Override
  public ConfigDef config() {
    return CONFIG;
  }

  @Override
  @SuppressWarnings("unchecked") // a value of type LIST
  public void configure(Map<String, ?> settings) {
    sourceFields = List.copyOf((List<String>) CONFIG.parse(settings).get(SOURCE_FIELDS));
  }

  /**
   * Flattens the event of a TRUNCATE.
   *
   * @throws DataException if the event lacks a wanted field of its source
   */
  @Override
  public R apply(R record) {
    if (!(record.value() instanceof Struct event) || !isTruncate(event)) {
      return record;
    }
    Struct flat = flattened(event);
    return record.newRecord(
        record.topic(), record.kafkaPartition(), null, null, flat.schema(), flat, record.timestamp());
  }

  @Override
  public void close() {}

  private static boolean isTruncate(Struct event) {
    Schema schema = event.schema();
    return schema.name() != null
        && Envelope.isEnvelopeSchema(schema)
        && Envelope.Operation.TRUNCATE.code().equals(event.getString(Envelope.FieldName.OPERATION));
  }

  private Struct flattened(Struct event) {
    Struct source = event.getStruct(Envelope.FieldName.SOURCE);
    SchemaBuilder schema =
        SchemaBuilder.struct()
            .name(SCHEMA)
            .field(PREFIX + Envelope.FieldName.OPERATION, Schema.STRING_SCHEMA)
            .field(PREFIX + "deleted", Schema.STRING_SCHEMA);
    for (String name : sourceFields) {
      Field field = source.schema().field(name);
      if (field == null) {
        throw new DataException("the source of a TRUNCATE has no field " + name + "; correct " + SOURCE_FIELDS);
      }
      schema.field(sourceField(name), field.schema());
    }
    Struct flat =
        new Struct(schema.build())
            .put(PREFIX + Envelope.FieldName.OPERATION, Envelope.Operation.TRUNCATE.code())
            .put(PREFIX + "deleted", "false");
    sourceFields.forEach(name -> flat.put(sourceField(name), source.getWithoutDefault(name)));
    return flat;
  }

  private static String sourceField(String name) {
    return PREFIX + Envelope.FieldName.SOURCE + "_" + name;
  }
}
