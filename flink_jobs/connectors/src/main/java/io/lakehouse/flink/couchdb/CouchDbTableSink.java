package io.lakehouse.flink.couchdb;

import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.connector.sink.SinkV2Provider;

/** The planner's view of a {@link CouchDbSink}: it takes append-only rows. */
record CouchDbTableSink(String name, CouchDbSink sink) implements DynamicTableSink {
    @Override
    public ChangelogMode getChangelogMode(ChangelogMode requested) {
        return ChangelogMode.insertOnly();
    }

    @Override
    public SinkRuntimeProvider getSinkRuntimeProvider(Context context) {
        return SinkV2Provider.of(sink);
    }

    @Override
    public DynamicTableSink copy() {
        return new CouchDbTableSink(name, sink);
    }

    @Override
    public String asSummaryString() {
        return "CouchDB view " + name;
    }
}
