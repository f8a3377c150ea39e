package io.lakehouse.flink.cassandra;

import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.connector.sink.SinkFunctionProvider;

/** The planner's view of a {@link CassandraViewSink}: it takes append-only rows. */
record CassandraViewTableSink(String name, CassandraViewSink sink) implements DynamicTableSink {
    @Override
    public ChangelogMode getChangelogMode(ChangelogMode requested) {
        return ChangelogMode.insertOnly();
    }

    @Override
    public SinkRuntimeProvider getSinkRuntimeProvider(Context context) {
        return SinkFunctionProvider.of(sink);
    }

    @Override
    public DynamicTableSink copy() {
        return new CassandraViewTableSink(name, sink);
    }

    @Override
    public String asSummaryString() {
        return "Cassandra view " + name;
    }
}
