package io.lakehouse.flink.cassandra;

import io.lakehouse.flink.view.ValueConverter;
import io.lakehouse.flink.view.ViewColumn;
import io.lakehouse.flink.view.ViewSchema;
import java.io.Serializable;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.flink.table.data.RowData;

/**
 * The two statements of a view and the values they bind.
 *
 * <p>Both carry the source position as write timestamp, so Cassandra itself keeps the newest change, whatever order or
 * however often changes arrive. An upsert binds every column, nulls too: a column that became null must lose its value.
 */
final class ViewStatements implements Serializable {
    private final String table;
    private final ViewSchema schema;
    private final List<Field> columns;
    private final List<Field> key;

    ViewStatements(String keyspace, String table, ViewSchema schema) {
        this.table = quoted(keyspace) + "." + quoted(table);
        this.schema = schema;
        this.columns = schema.columns().stream().map(Field::new).toList();
        this.key = schema.key().stream().map(Field::new).toList();
    }

    /** {@code INSERT INTO t (columns, source_position) VALUES (...) USING TIMESTAMP ?}. */
    String upsert() {
        List<String> names = Stream.concat(
                        columns.stream().map(Field::name), Stream.of(ViewSchema.STORED_POSITION))
                .map(ViewStatements::quoted)
                .toList();
        String marks = names.stream().map(name -> "?").collect(Collectors.joining(", "));
        return "INSERT INTO %s (%s) VALUES (%s) USING TIMESTAMP ?"
                .formatted(table, String.join(", ", names), marks);
    }

    /** {@code DELETE FROM t USING TIMESTAMP ? WHERE key = ?}. */
    String delete() {
        String where =
                key.stream().map(field -> quoted(field.name()) + " = ?").collect(Collectors.joining(" AND "));
        return "DELETE FROM %s USING TIMESTAMP ? WHERE %s".formatted(table, where);
    }

    boolean isDelete(RowData row) {
        return schema.isDeleted(row);
    }

    /** Values of {@link #upsert()} in the order of its question marks. */
    Object[] upsertValues(RowData row) {
        long position = schema.position(row);
        return Stream.concat(columns.stream().map(field -> field.value(row)), Stream.of(position, position))
                .toArray();
    }

    /** Values of {@link #delete()} in the order of its question marks. */
    Object[] deleteValues(RowData row) {
        return Stream.concat(Stream.of(schema.position(row)), key.stream().map(field -> field.value(row)))
                .toArray();
    }

    private static String quoted(String identifier) {
        return '"' + identifier.replace("\"", "\"\"") + '"';
    }

    /** A column with the way its values take. */
    private static final class Field implements Serializable {
        private final String name;
        private final RowData.FieldGetter getter;
        private final ValueConverter<Object> converter;

        Field(ViewColumn column) {
            this.name = column.name();
            this.getter = ViewSchema.getter(column);
            this.converter = CassandraValues.converter(column);
        }

        String name() {
            return name;
        }

        Object value(RowData row) {
            Object value = getter.getFieldOrNull(row);
            return value == null ? null : converter.convert(value);
        }
    }
}
