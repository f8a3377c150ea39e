package io.lakehouse.debezium;

import com.github.shyiko.mysql.binlog.BinaryLogClient;
import io.debezium.connector.base.ChangeEventQueue;
import io.debezium.connector.binlog.jdbc.BinlogConnectorConnection;
import io.debezium.connector.mysql.MySqlChangeEventSourceFactory;
import io.debezium.connector.mysql.MySqlConnectorConfig;
import io.debezium.connector.mysql.MySqlDatabaseSchema;
import io.debezium.connector.mysql.MySqlOffsetContext;
import io.debezium.connector.mysql.MySqlPartition;
import io.debezium.connector.mysql.MySqlStreamingChangeEventSourceMetrics;
import io.debezium.connector.mysql.MySqlTaskContext;
import io.debezium.jdbc.MainConnectionProvidingConnectionFactory;
import io.debezium.pipeline.DataChangeEvent;
import io.debezium.pipeline.ErrorHandler;
import io.debezium.pipeline.EventDispatcher;
import io.debezium.pipeline.source.spi.StreamingChangeEventSource;
import io.debezium.relational.TableId;
import io.debezium.snapshot.SnapshotterService;
import io.debezium.util.Clock;
import java.util.function.Supplier;

/** Debezium's sources of events, with {@link ExactStreaming} for the binary log. */
final class ExactSources extends MySqlChangeEventSourceFactory {

  private final Supplier<ExactStreaming> streaming;
  private final ChangeEventQueue<DataChangeEvent> queue;

  ExactSources(
      MySqlConnectorConfig config,
      MainConnectionProvidingConnectionFactory<BinlogConnectorConnection> connections,
      ErrorHandler errors,
      EventDispatcher<MySqlPartition, TableId> dispatcher,
      Clock clock,
      MySqlDatabaseSchema schema,
      MySqlTaskContext context,
      MySqlStreamingChangeEventSourceMetrics metrics,
      ChangeEventQueue<DataChangeEvent> queue,
      SnapshotterService snapshotter,
      BinaryLogClient client) {
    super(
        config, connections, errors, dispatcher, clock, schema, context, metrics, queue, snapshotter, client);
    this.queue = queue;
    this.streaming =
        () ->
            new ExactStreaming(
                config,
                connections.mainConnection(),
                dispatcher,
                errors,
                clock,
                context,
                schema,
                metrics,
                snapshotter,
                client);
  }

  @Override
  public StreamingChangeEventSource<MySqlPartition, MySqlOffsetContext> getStreamingChangeEventSource() {
    queue.disableBuffering();
    return streaming.get();
  }
}
