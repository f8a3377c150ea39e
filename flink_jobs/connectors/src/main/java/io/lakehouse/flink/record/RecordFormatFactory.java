package io.lakehouse.flink.record;

import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Set;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.DeserializationFeature;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.factories.DynamicTableFactory;
import org.apache.flink.table.factories.FactoryUtil;

/**
 * {@code 'format'='lakehouse-record'}: flattened changes of Debezium's MySQL connector as rows of exact values.
 *
 * <p>Besides the source's columns a table may declare {@code __op}, {@code __deleted}, {@code __source_file}, {@code
 * __source_pos}, {@code __source_row}, {@code __source_gtid}, {@code __source_ts_us} and {@code __source_epoch} (which
 * older records do not have), and {@code __error STRING} with {@code __raw BYTES}: a record that cannot be carried
 * exactly gives a row with the reason and its bytes there, and nothing else. Without these two columns it fails the job.
 */
public final class RecordFormatFactory implements DeserializationFormatFactory {
    static final String IDENTIFIER = "lakehouse-record";

    private static final ConfigOption<String> COLUMNS = ConfigOptions.key("columns")
            .stringType()
            .noDefaultValue()
            .withDescription("JSON object of the columns and the kinds of their values, see WireKind.");
    private static final ConfigOption<String> REQUIRED = ConfigOptions.key("required")
            .stringType()
            .defaultValue("[]")
            .withDescription("JSON array of columns whose value must be there and not null, as the primary key's.");

    static final String COLUMNS_OPTION = IDENTIFIER + "." + COLUMNS.key();
    static final String REQUIRED_OPTION = IDENTIFIER + "." + REQUIRED.key();

    private static final ObjectMapper JSON = new ObjectMapper()
            .enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY, DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

    @Override
    public String factoryIdentifier() {
        return IDENTIFIER;
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(COLUMNS);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of(REQUIRED);
    }

    @Override
    public DecodingFormat<DeserializationSchema<RowData>> createDecodingFormat(
            DynamicTableFactory.Context context, ReadableConfig options) {
        FactoryUtil.validateFactoryOptions(this, options);
        // The columns are checked where they are known: the connector may keep those of the record's key from the format.
        return new RecordDecodingFormat(kinds(options.get(COLUMNS)), required(options.get(REQUIRED)));
    }

    private static Map<String, String> kinds(String text) {
        JsonNode node = read(COLUMNS_OPTION, text);
        Map<String, String> kinds = new LinkedHashMap<>();
        node.fields().forEachRemaining(field -> kinds.put(field.getKey(), field.getValue().asText()));
        if (!node.isObject() || !allTexts(node)) {
            throw new ValidationException(
                    "'%s' must be a JSON object of strings, as {\"id\": \"integer\"}".formatted(COLUMNS_OPTION));
        }
        return kinds;
    }

    private static Set<String> required(String text) {
        JsonNode node = read(REQUIRED_OPTION, text);
        Set<String> names = new LinkedHashSet<>();
        node.forEach(name -> names.add(name.asText()));
        if (!node.isArray() || !allTexts(node)) {
            throw new ValidationException("'%s' must be a JSON array of strings, as [\"id\"]".formatted(REQUIRED_OPTION));
        }
        return names;
    }

    private static boolean allTexts(JsonNode node) {
        for (JsonNode element : node) {
            if (!element.isTextual()) {
                return false;
            }
        }
        return true;
    }

    private static JsonNode read(String option, String text) {
        try {
            return JSON.readTree(text);
        } catch (JsonProcessingException wrong) {
            throw new ValidationException("'%s' is not JSON: %s".formatted(option, wrong.getOriginalMessage()), wrong);
        }
    }
}
