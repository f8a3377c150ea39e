package io.lakehouse.flink.cassandra;

import io.lakehouse.flink.view.ViewSchema;
import java.util.Set;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.factories.DynamicTableSinkFactory;
import org.apache.flink.table.factories.FactoryUtil;

/**
 * {@code 'connector'='cassandra-view'}: a serving view in Cassandra, written with the source position as write timestamp.
 *
 * <p>Takes append-only rows of the view's columns, {@code _deleted} and {@code _position}; the declared primary key is the
 * view's key. The Cassandra table must exist, with the same column names and a {@code source_position bigint}.
 */
public final class CassandraViewSinkFactory implements DynamicTableSinkFactory {
    private static final ConfigOption<String> HOSTS = ConfigOptions.key("hosts")
            .stringType()
            .noDefaultValue()
            .withDescription("Contact points, separated by commas.");
    private static final ConfigOption<Integer> PORT = ConfigOptions.key("port")
            .intType()
            .defaultValue(9042)
            .withDescription("Native protocol port.");
    private static final ConfigOption<String> USERNAME =
            ConfigOptions.key("username").stringType().noDefaultValue().withDescription("Login.");
    private static final ConfigOption<String> PASSWORD =
            ConfigOptions.key("password").stringType().noDefaultValue().withDescription("Its password.");
    private static final ConfigOption<String> KEYSPACE =
            ConfigOptions.key("keyspace").stringType().noDefaultValue().withDescription("Keyspace of the view.");
    private static final ConfigOption<String> TABLE =
            ConfigOptions.key("table").stringType().noDefaultValue().withDescription("Table of the view.");
    // The driver's pool for one host takes 1024 requests; without a limit it answers "Pool is busy".
    private static final ConfigOption<Integer> MAX_CONCURRENT_REQUESTS = ConfigOptions.key("max-concurrent-requests")
            .intType()
            .defaultValue(400)
            .withDescription("Requests in flight per sink task before it holds the stream back.");

    @Override
    public String factoryIdentifier() {
        return "cassandra-view";
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(HOSTS, USERNAME, PASSWORD, KEYSPACE, TABLE);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of(PORT, MAX_CONCURRENT_REQUESTS);
    }

    @Override
    public DynamicTableSink createDynamicTableSink(Context context) {
        FactoryUtil.TableFactoryHelper helper = FactoryUtil.createTableFactoryHelper(this, context);
        helper.validate();
        ReadableConfig options = helper.getOptions();
        if (options.get(MAX_CONCURRENT_REQUESTS) < 1) {
            throw new ValidationException(
                    "'max-concurrent-requests' must be at least 1, not " + options.get(MAX_CONCURRENT_REQUESTS));
        }
        String name = context.getObjectIdentifier().asSummaryString();
        ViewSchema schema =
                ViewSchema.of(name, context.getCatalogTable().getResolvedSchema());
        ViewStatements statements = new ViewStatements(options.get(KEYSPACE), options.get(TABLE), schema);
        LoginClusterBuilder cluster = new LoginClusterBuilder(
                options.get(HOSTS), options.get(PORT), options.get(USERNAME), options.get(PASSWORD));
        return new CassandraViewTableSink(
                name, new CassandraViewSink(cluster, options.get(MAX_CONCURRENT_REQUESTS), statements));
    }
}
