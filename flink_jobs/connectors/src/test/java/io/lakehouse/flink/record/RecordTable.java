package io.lakehouse.flink.record;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.metrics.SimpleCounter;
import org.apache.flink.metrics.groups.UnregisteredMetricsGroup;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DeserializationFormatFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.util.InstantiationUtil;
import org.apache.flink.util.UserCodeClassLoader;

/** A table over records, put together as the planner and a source task do it. */
final class RecordTable {
    private final List<String> names;
    private final DeserializationSchema<RowData> schema;
    private final Counter quarantined = new SimpleCounter();

    /** A table of these columns and options; options without the format's name in front. */
    RecordTable(Map<String, String> options, List<DataTypes.Field> columns) {
        names = columns.stream().map(DataTypes.Field::getName).toList();
        DeserializationFormatFactory factory = FactoryUtil.discoverFactory(
                RecordTable.class.getClassLoader(), DeserializationFormatFactory.class, "lakehouse-record");
        DecodingFormat<DeserializationSchema<RowData>> format =
                factory.createDecodingFormat(null, Configuration.fromMap(options));
        try {
            // The way of every source from the client to its task.
            schema = InstantiationUtil.clone(
                    format.createRuntimeDecoder(new PlannerContext(), DataTypes.ROW(columns)));
            schema.open(new TaskContext());
        } catch (RuntimeException wrong) {
            throw wrong;
        } catch (Exception wrong) {
            throw new IllegalStateException(wrong);
        }
    }

    /** A table with the columns {@code a}, {@code b}, ... of these kinds and types, and those of the quarantine. */
    static RecordTable of(Object... kindsAndTypes) {
        List<DataTypes.Field> columns = new ArrayList<>();
        List<String> kinds = new ArrayList<>();
        for (int at = 0; at < kindsAndTypes.length; at += 2) {
            String name = Character.toString('a' + at / 2);
            kinds.add("\"%s\": \"%s\"".formatted(name, kindsAndTypes[at]));
            columns.add(DataTypes.FIELD(name, (DataType) kindsAndTypes[at + 1]));
        }
        return new RecordTable(
                Map.of("columns", kinds.stream().collect(Collectors.joining(", ", "{", "}"))), quarantine(columns));
    }

    /** These columns, and those of the quarantine. */
    static List<DataTypes.Field> quarantine(List<DataTypes.Field> columns) {
        List<DataTypes.Field> all = new ArrayList<>(columns);
        all.add(DataTypes.FIELD("__error", DataTypes.STRING()));
        all.add(DataTypes.FIELD("__raw", DataTypes.BYTES()));
        return all;
    }

    /** The value that a column of this kind and type takes from a record. */
    static Object value(String kind, DataType type, String json) {
        return of(kind, type).row("{\"a\": %s, \"__op\": \"c\"}".formatted(json)).getField(0);
    }

    /** Why such a column refuses a value. */
    static String refusal(String kind, DataType type, String json) {
        String reason = of(kind, type).error("{\"a\": %s, \"__op\": \"c\"}".formatted(json));
        assertEquals("column a: ", reason.substring(0, 10), reason);
        return reason.substring(10);
    }

    /** The row of a record that can be carried. */
    GenericRowData row(String json) {
        GenericRowData row = deserialize(json.getBytes(StandardCharsets.UTF_8));
        assertNull(field(row, "__error"), json);
        assertNull(field(row, "__raw"));
        return row;
    }

    /** The reason with which a record is refused. */
    String error(String json) {
        return error(json.getBytes(StandardCharsets.UTF_8));
    }

    /** The same of bytes; checks the rest of the row. */
    String error(byte[] record) {
        long before = quarantined.getCount();
        GenericRowData row = deserialize(record);
        assertEquals(before + 1, quarantined.getCount());
        assertArrayEquals(record, (byte[]) field(row, "__raw"));
        for (String name : names) {
            if (!name.equals("__error") && !name.equals("__raw")) {
                assertNull(field(row, name), name);
            }
        }
        Object reason = field(row, "__error");
        assertNotNull(reason);
        return reason.toString();
    }

    /** A column's value. */
    Object field(GenericRowData row, String name) {
        return row.getField(names.indexOf(name));
    }

    /** The row of a record, whatever it holds. */
    GenericRowData deserialize(byte[] record) {
        try {
            return (GenericRowData) schema.deserialize(record);
        } catch (IOException wrong) {
            throw new IllegalStateException(wrong.getMessage(), wrong);
        }
    }

    private final class TaskContext implements DeserializationSchema.InitializationContext {
        @Override
        public MetricGroup getMetricGroup() {
            return new UnregisteredMetricsGroup() {
                @Override
                public Counter counter(String name) {
                    assertEquals("quarantined", name);
                    return quarantined;
                }
            };
        }

        @Override
        public UserCodeClassLoader getUserCodeClassLoader() {
            throw new UnsupportedOperationException();
        }
    }

    private static final class PlannerContext implements DynamicTableSource.Context {
        @Override
        public <T> TypeInformation<T> createTypeInformation(DataType type) {
            return null;
        }

        @Override
        public <T> TypeInformation<T> createTypeInformation(LogicalType type) {
            return null;
        }

        @Override
        public DynamicTableSource.DataStructureConverter createDataStructureConverter(DataType type) {
            throw new UnsupportedOperationException();
        }
    }
}
