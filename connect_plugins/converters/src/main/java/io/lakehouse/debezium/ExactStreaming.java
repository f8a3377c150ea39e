package io.lakehouse.debezium;

import com.github.shyiko.mysql.binlog.BinaryLogClient;
import com.github.shyiko.mysql.binlog.event.Event;
import com.github.shyiko.mysql.binlog.event.QueryEventData;
import io.debezium.DebeziumException;
import io.debezium.connector.binlog.jdbc.BinlogConnectorConnection;
import io.debezium.connector.mysql.MySqlConnectorConfig;
import io.debezium.connector.mysql.MySqlDatabaseSchema;
import io.debezium.connector.mysql.MySqlOffsetContext;
import io.debezium.connector.mysql.MySqlPartition;
import io.debezium.connector.mysql.MySqlStreamingChangeEventSource;
import io.debezium.connector.mysql.MySqlStreamingChangeEventSourceMetrics;
import io.debezium.connector.mysql.MySqlTaskContext;
import io.debezium.pipeline.ErrorHandler;
import io.debezium.pipeline.EventDispatcher;
import io.debezium.relational.TableId;
import io.debezium.snapshot.SnapshotterService;
import io.debezium.util.Clock;
import java.util.Locale;
import java.util.regex.Pattern;

/** Reads the binary log: rows by {@link RowEvents}, and no change that was logged as a statement is passed over. */
final class ExactStreaming extends MySqlStreamingChangeEventSource {

  private static final Pattern CHANGE =
      Pattern.compile(
          "(?:/\\*.*?\\*/|--[^\\n]*\\n|#[^\\n]*\\n|\\s)*"
              + "(?:INSERT|UPDATE|DELETE|REPLACE|LOAD|WITH)\\b.*",
          Pattern.CASE_INSENSITIVE | Pattern.DOTALL);

  private final MySqlDatabaseSchema schema;

  ExactStreaming(
      MySqlConnectorConfig config,
      BinlogConnectorConnection connection,
      EventDispatcher<MySqlPartition, TableId> dispatcher,
      ErrorHandler errors,
      Clock clock,
      MySqlTaskContext context,
      MySqlDatabaseSchema schema,
      MySqlStreamingChangeEventSourceMetrics metrics,
      SnapshotterService snapshotter,
      BinaryLogClient client) {
    super(
        config, connection, dispatcher, errors, clock, context, schema, metrics, snapshotter, client);
    this.schema = schema;
    // Not by overriding createEventDeserializer: the superclass calls that before anything is known here.
    client.setEventDeserializer(
        new RowEvents(config.getTableFilters().dataCollectionFilter()::isIncluded)
            .installIn(createEventDeserializer()));
  }

  @Override
  protected void handleQueryEvent(MySqlPartition partition, MySqlOffsetContext offset, Event event)
      throws InterruptedException {
    QueryEventData query = unwrapData(event);
    if (CHANGE.matcher(query.getSql()).matches() && concernsCapturedDatabase(query)) {
      throw new DebeziumException(
          "rows were changed by a statement that is in the binary log as a statement, not as rows: some session"
              + " writes with binlog_format other than ROW");
    }
    super.handleQueryEvent(partition, offset, event);
  }

  private boolean concernsCapturedDatabase(QueryEventData query) {
    String sql = query.getSql().toLowerCase(Locale.ROOT);
    return schema.tableIds().stream()
        .map(TableId::catalog)
        .distinct()
        .anyMatch(
            database ->
                database.equalsIgnoreCase(query.getDatabase())
                    || sql.contains(database.toLowerCase(Locale.ROOT)));
  }
}
