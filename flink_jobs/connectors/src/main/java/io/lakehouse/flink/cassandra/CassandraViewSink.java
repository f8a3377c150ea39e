package io.lakehouse.flink.cassandra;

import com.datastax.driver.core.PreparedStatement;
import com.datastax.driver.core.ResultSet;
import org.apache.flink.cassandra.shaded.com.google.common.util.concurrent.ListenableFuture;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.connectors.cassandra.ClusterBuilder;
import org.apache.flink.streaming.connectors.cassandra.ExtensibleCassandraSink;
import org.apache.flink.table.data.RowData;

/** Writes view rows asynchronously; a checkpoint completes only after every write before it was acknowledged. */
final class CassandraViewSink extends ExtensibleCassandraSink<RowData, ResultSet> {
    private final ViewStatements statements;

    private transient PreparedStatement upsert;
    private transient PreparedStatement delete;
    private transient RetryingSession retrying;

    CassandraViewSink(ClusterBuilder cluster, int maxConcurrentRequests, ViewStatements statements) {
        super(cluster, maxConcurrentRequests);
        this.statements = statements;
    }

    @Override
    public void open(Configuration configuration) {
        super.open(configuration);
        upsert = session.prepare(statements.upsert());
        delete = session.prepare(statements.delete());
        retrying = new RetryingSession(session);
    }

    @Override
    public ListenableFuture<ResultSet> send(RowData row) {
        return retrying.execute(
                statements.isDelete(row)
                        ? delete.bind(statements.deleteValues(row))
                        : upsert.bind(statements.upsertValues(row)));
    }

    @Override
    public void close() throws Exception {
        // The base waits for writes in flight, which may still be waiting for their next attempt.
        try {
            super.close();
        } finally {
            if (retrying != null) {
                retrying.close();
            }
        }
    }
}
