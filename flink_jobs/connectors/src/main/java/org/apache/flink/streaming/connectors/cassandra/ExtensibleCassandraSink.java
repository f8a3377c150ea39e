package org.apache.flink.streaming.connectors.cassandra;

/**
 * Opens the official connector's sink for extension: {@link CassandraSinkBase} limits the requests in flight, waits for
 * them at each checkpoint and fails the job on the first error, but its constructor is visible in its own package only.
 *
 * @param <IN> type of the rows
 * @param <V> type of an answer
 */
public abstract class ExtensibleCassandraSink<IN, V> extends CassandraSinkBase<IN, V> {
    /**
     * Builds a sink that fails the job on errors.
     *
     * @param cluster how to reach Cassandra
     * @param maxConcurrentRequests requests in flight before the sink holds the stream back
     */
    protected ExtensibleCassandraSink(ClusterBuilder cluster, int maxConcurrentRequests) {
        super(
                cluster,
                CassandraSinkBaseConfig.newBuilder().setMaxConcurrentRequests(maxConcurrentRequests).build(),
                new NoOpCassandraFailureHandler());
    }
}
