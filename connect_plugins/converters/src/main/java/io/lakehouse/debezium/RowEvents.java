package io.lakehouse.debezium;

import com.github.luben.zstd.ZstdInputStream;
import com.github.shyiko.mysql.binlog.event.Event;
import com.github.shyiko.mysql.binlog.event.EventData;
import com.github.shyiko.mysql.binlog.event.EventType;
import com.github.shyiko.mysql.binlog.event.TableMapEventData;
import com.github.shyiko.mysql.binlog.event.TransactionPayloadEventData;
import com.github.shyiko.mysql.binlog.event.deserialization.ColumnType;
import com.github.shyiko.mysql.binlog.event.deserialization.EventDataDeserializer;
import com.github.shyiko.mysql.binlog.event.deserialization.EventDeserializer;
import com.github.shyiko.mysql.binlog.event.deserialization.TableMapEventDataDeserializer;
import com.github.shyiko.mysql.binlog.event.deserialization.TransactionPayloadEventDataDeserializer;
import com.github.shyiko.mysql.binlog.io.ByteArrayInputStream;
import io.debezium.DebeziumException;
import io.debezium.config.CommonConnectorConfig.EventProcessingFailureHandlingMode;
import io.debezium.connector.binlog.event.RowDeserializers;
import io.debezium.relational.TableId;
import java.io.IOException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/**
 * Reads the rows of the binary log exactly, and refuses those that do not say everything.
 *
 * <p>Debezium's own readers make a date that is zero in any part null, before anything could tell it from NULL; they
 * pass over partial updates of JSON without a word, and blame the schema for a row that lacks columns.
 */
final class RowEvents {

  private static final int MAX_TABLES = 10_000;
  private static final int TABLE_ID_BYTES = 6;

  private final Predicate<TableId> captured;
  private final Map<Long, TableMapEventData> tables =
      new LinkedHashMap<>(64, 0.75f, true) {
        @Override
        protected boolean removeEldestEntry(Map.Entry<Long, TableMapEventData> eldest) {
          return size() > MAX_TABLES;
        }
      };

  /**
   * @param captured whether the connector captures a table
   */
  RowEvents(Predicate<TableId> captured) {
    this.captured = captured;
  }

  /** Make a reader of events read rows this way. */
  EventDeserializer installIn(EventDeserializer reader) {
    reader.setEventDataDeserializer(EventType.TABLE_MAP, new Tables());
    reader.setEventDataDeserializer(EventType.WRITE_ROWS, new Writes());
    reader.setEventDataDeserializer(EventType.UPDATE_ROWS, new Updates());
    reader.setEventDataDeserializer(EventType.DELETE_ROWS, new Deletes());
    reader.setEventDataDeserializer(EventType.EXT_WRITE_ROWS, new Writes().setMayContainExtraInformation(true));
    reader.setEventDataDeserializer(
        EventType.EXT_UPDATE_ROWS, new Updates().setMayContainExtraInformation(true));
    reader.setEventDataDeserializer(
        EventType.EXT_DELETE_ROWS, new Deletes().setMayContainExtraInformation(true));
    reader.setEventDataDeserializer(
        EventType.PARTIAL_UPDATE_ROWS_EVENT, (EventDataDeserializer<EventData>) this::refusePartialUpdate);
    reader.setEventDataDeserializer(EventType.TRANSACTION_PAYLOAD, new CompressedTransactions());
    return reader;
  }

  /** The cell's value, or null for a type whose reading needs no care. */
  private static Serializable cell(ColumnType type, int meta, ByteArrayInputStream in) throws IOException {
    return switch (type) {
      case DATE -> TemporalValues.logDate(in.read(3));
      case DATETIME_V2 -> TemporalValues.logDatetime(
          in.read(5 + TemporalValues.logFractionBytes(meta)), meta);
      case TIMESTAMP_V2 -> TemporalValues.logTimestamp(
          in.read(4 + TemporalValues.logFractionBytes(meta)), meta);
      case TIME_V2 -> TemporalValues.logTime(in.read(3 + TemporalValues.logFractionBytes(meta)), meta);
      case YEAR -> year(in.readInteger(1));
      case DATETIME, TIMESTAMP, TIME -> throw new DebeziumException(
          "a column has the format of dates and times from before MySQL 5.6; ALTER TABLE ... FORCE renews it");
      default -> null;
    };
  }

  private static int year(int stored) {
    return stored == 0 ? 0 : 1900 + stored;
  }

  private void requireWhole(long tableId, BitSet columns) {
    TableMapEventData table = tables.get(tableId);
    if (table != null && columns.cardinality() < table.getColumnTypes().length && isCaptured(table)) {
      throw new DebeziumException(
          "a row of "
              + id(table)
              + " is in the binary log without all its columns: some session writes with"
              + " binlog_row_image other than FULL");
    }
  }

  private EventData refusePartialUpdate(ByteArrayInputStream in) throws IOException {
    TableMapEventData table = tables.get(in.readLong(TABLE_ID_BYTES));
    if (table == null || isCaptured(table)) {
      throw new DebeziumException(
          "a change of JSON in "
              + (table == null ? "some table" : id(table))
              + " is in the binary log in part only: some session writes with"
              + " binlog_row_value_options=PARTIAL_JSON");
    }
    return null;
  }

  private boolean isCaptured(TableMapEventData table) {
    return captured.test(id(table));
  }

  private static TableId id(TableMapEventData table) {
    return new TableId(table.getDatabase(), null, table.getTable());
  }

  private final class Tables implements EventDataDeserializer<TableMapEventData> {

    private final TableMapEventDataDeserializer reader = new TableMapEventDataDeserializer();

    @Override
    public TableMapEventData deserialize(ByteArrayInputStream in) throws IOException {
      TableMapEventData table = reader.deserialize(in);
      tables.put(table.getTableId(), table);
      return table;
    }
  }

  private final class Writes extends RowDeserializers.WriteRowsDeserializer {

    Writes() {
      super(tables, EventProcessingFailureHandlingMode.FAIL);
    }

    @Override
    protected Serializable[] deserializeRow(long table, BitSet columns, ByteArrayInputStream in)
        throws IOException {
      requireWhole(table, columns);
      return super.deserializeRow(table, columns, in);
    }

    @Override
    protected Serializable deserializeCell(ColumnType type, int meta, int length, ByteArrayInputStream in)
        throws IOException {
      Serializable value = cell(type, meta, in);
      return value == null ? super.deserializeCell(type, meta, length, in) : value;
    }
  }

  private final class Updates extends RowDeserializers.UpdateRowsDeserializer {

    Updates() {
      super(tables, EventProcessingFailureHandlingMode.FAIL);
    }

    @Override
    protected Serializable[] deserializeRow(long table, BitSet columns, ByteArrayInputStream in)
        throws IOException {
      requireWhole(table, columns);
      return super.deserializeRow(table, columns, in);
    }

    @Override
    protected Serializable deserializeCell(ColumnType type, int meta, int length, ByteArrayInputStream in)
        throws IOException {
      Serializable value = cell(type, meta, in);
      return value == null ? super.deserializeCell(type, meta, length, in) : value;
    }
  }

  private final class Deletes extends RowDeserializers.DeleteRowsDeserializer {

    Deletes() {
      super(tables, EventProcessingFailureHandlingMode.FAIL);
    }

    @Override
    protected Serializable[] deserializeRow(long table, BitSet columns, ByteArrayInputStream in)
        throws IOException {
      requireWhole(table, columns);
      return super.deserializeRow(table, columns, in);
    }

    @Override
    protected Serializable deserializeCell(ColumnType type, int meta, int length, ByteArrayInputStream in)
        throws IOException {
      Serializable value = cell(type, meta, in);
      return value == null ? super.deserializeCell(type, meta, length, in) : value;
    }
  }

  /** Transactions written with {@code binlog_transaction_compression}. */
  private final class CompressedTransactions extends TransactionPayloadEventDataDeserializer {

    private static final int ZSTD = 0;

    @Override
    public TransactionPayloadEventData deserialize(ByteArrayInputStream in) throws IOException {
      TransactionPayloadEventData transaction = new TransactionPayloadEventData();
      for (int field = in.readPackedInteger(); field != OTW_PAYLOAD_HEADER_END_MARK; ) {
        int length = in.readPackedInteger();
        switch (field) {
          case OTW_PAYLOAD_SIZE_FIELD -> transaction.setPayloadSize(in.readPackedInteger());
          case OTW_PAYLOAD_COMPRESSION_TYPE_FIELD -> transaction.setCompressionType(in.readPackedInteger());
          case OTW_PAYLOAD_UNCOMPRESSED_SIZE_FIELD -> transaction.setUncompressedSize(in.readPackedLong());
          default -> in.read(length);
        }
        field = in.readPackedInteger();
      }
      if (transaction.getCompressionType() != ZSTD) {
        throw new DebeziumException(
            "a transaction is compressed in a way that is not known: " + transaction.getCompressionType());
      }
      transaction.setPayload(in.read(transaction.getPayloadSize()));
      transaction.setUncompressedEvents(new ArrayList<>(events(transaction.getPayload())));
      return transaction;
    }

    private List<Event> events(byte[] compressed) throws IOException {
      List<Event> events = new ArrayList<>();
      EventDeserializer reader = installIn(new EventDeserializer());
      try (ZstdInputStream plain = new ZstdInputStream(new java.io.ByteArrayInputStream(compressed))) {
        ByteArrayInputStream in = new ByteArrayInputStream(plain);
        for (Event event = reader.nextEvent(in); event != null; event = reader.nextEvent(in)) {
          events.add(event);
        }
      }
      return events;
    }
  }
}
