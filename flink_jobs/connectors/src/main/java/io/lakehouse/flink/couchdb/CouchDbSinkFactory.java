package io.lakehouse.flink.couchdb;

import io.lakehouse.flink.view.ViewColumn;
import io.lakehouse.flink.view.ViewSchema;
import java.net.URI;
import java.net.URISyntaxException;
import java.util.Set;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.connector.sink.DynamicTableSink;
import org.apache.flink.table.factories.DynamicTableSinkFactory;
import org.apache.flink.table.factories.FactoryUtil;

/**
 * {@code 'connector'='couchdb'}: a serving view as documents of one CouchDB database.
 *
 * <p>Takes append-only rows of the view's columns, {@code _deleted} and {@code _position}. The declared primary key is the
 * document's id, see {@link DocumentCodec}. The database is created if it is missing.
 */
public final class CouchDbSinkFactory implements DynamicTableSinkFactory {
    private static final ConfigOption<String> URL = ConfigOptions.key("url")
            .stringType()
            .noDefaultValue()
            .withDescription("Server, for example http://127.0.0.1:5984.");
    private static final ConfigOption<String> USERNAME =
            ConfigOptions.key("username").stringType().noDefaultValue().withDescription("Login (Basic).");
    private static final ConfigOption<String> PASSWORD =
            ConfigOptions.key("password").stringType().noDefaultValue().withDescription("Its password.");
    private static final ConfigOption<String> DATABASE =
            ConfigOptions.key("database").stringType().noDefaultValue().withDescription("Database of the view.");
    private static final ConfigOption<Integer> BATCH_SIZE = ConfigOptions.key("batch-size")
            .intType()
            .defaultValue(500)
            .withDescription("Documents collected before they are written together.");

    @Override
    public String factoryIdentifier() {
        return "couchdb";
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(URL, USERNAME, PASSWORD, DATABASE);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of(BATCH_SIZE);
    }

    @Override
    public DynamicTableSink createDynamicTableSink(Context context) {
        FactoryUtil.TableFactoryHelper helper = FactoryUtil.createTableFactoryHelper(this, context);
        helper.validate();
        ReadableConfig options = helper.getOptions();
        if (options.get(BATCH_SIZE) < 1) {
            throw new ValidationException("'batch-size' must be at least 1, not " + options.get(BATCH_SIZE));
        }
        String name = context.getObjectIdentifier().asSummaryString();
        ViewSchema schema =
                ViewSchema.of(name, context.getCatalogTable().getResolvedSchema());
        for (ViewColumn column : schema.columns()) {
            if (column.name().startsWith("_")) {
                throw new ValidationException(
                        "sink table %s: CouchDB keeps field names with a leading underscore for itself; rename column %s"
                                .formatted(name, column.name()));
            }
        }
        CouchDbAddress address = new CouchDbAddress(
                server(options.get(URL)), options.get(DATABASE), options.get(USERNAME), options.get(PASSWORD));
        return new CouchDbTableSink(
                name, new CouchDbSink(address, new DocumentCodec(schema), options.get(BATCH_SIZE)));
    }

    private static URI server(String url) {
        try {
            URI uri = new URI(url);
            if (("http".equals(uri.getScheme()) || "https".equals(uri.getScheme())) && uri.getHost() != null) {
                return uri;
            }
        } catch (URISyntaxException notAnAddress) {
            // falls through to the same message: the address itself may hold a password and is not repeated
        }
        throw new ValidationException("'url' must be a server's address such as http://127.0.0.1:5984");
    }
}
