package io.lakehouse.flink.cassandra;

import com.datastax.driver.core.Cluster;
import com.datastax.driver.core.ConsistencyLevel;
import com.datastax.driver.core.QueryOptions;
import org.apache.flink.streaming.connectors.cassandra.ClusterBuilder;

/** Connects with a login; writes are acknowledged by a quorum of the local data centre. */
final class LoginClusterBuilder extends ClusterBuilder {
    private final String hosts;
    private final int port;
    private final String username;
    private final String password;

    LoginClusterBuilder(String hosts, int port, String username, String password) {
        this.hosts = hosts;
        this.port = port;
        this.username = username;
        this.password = password;
    }

    @Override
    protected Cluster buildCluster(Cluster.Builder builder) {
        // Every statement carries its own timestamp, so sending one twice changes nothing.
        QueryOptions options =
                new QueryOptions().setConsistencyLevel(ConsistencyLevel.LOCAL_QUORUM).setDefaultIdempotence(true);
        return builder.addContactPoints(hosts.trim().split("\\s*,\\s*"))
                .withPort(port)
                .withCredentials(username, password)
                .withQueryOptions(options)
                .withoutJMXReporting()
                .build();
    }
}
