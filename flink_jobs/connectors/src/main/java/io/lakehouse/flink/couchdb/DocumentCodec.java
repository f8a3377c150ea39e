package io.lakehouse.flink.couchdb;

import io.lakehouse.flink.view.ValueConverter;
import io.lakehouse.flink.view.ViewColumn;
import io.lakehouse.flink.view.ViewSchema;
import java.io.Serializable;
import java.util.List;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.JsonNodeFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.flink.table.data.RowData;

/**
 * Turns a view row into a {@link Change}.
 *
 * <p>The id is the key's values, as they stand in the document, joined by {@code :}. So that different keys never share an
 * id, {@code %} and {@code :} inside every value but the last are written {@code %25} and {@code %3A}; a key of one column
 * is its value as it is.
 */
final class DocumentCodec implements Serializable {
    private final ViewSchema schema;
    private final List<Field> fields;
    private final List<Field> key;

    DocumentCodec(ViewSchema schema) {
        this.schema = schema;
        this.fields = schema.columns().stream().map(Field::new).toList();
        this.key = schema.key().stream().map(Field::new).toList();
    }

    Change encode(RowData row) {
        String id = id(row);
        long position = schema.position(row);
        ObjectNode document = JsonNodeFactory.instance.objectNode();
        document.put("_id", id);
        if (schema.isDeleted(row)) {
            document.put("_deleted", true);
        } else {
            fields.forEach(field -> document.set(field.name(), field.value(row)));
        }
        document.set(ViewSchema.STORED_POSITION, JsonValues.integer(position));
        return new Change(id, position, document);
    }

    private String id(RowData row) {
        StringBuilder id = new StringBuilder();
        for (int index = 0; index < key.size(); index++) {
            JsonNode value = key.get(index).value(row);
            if (value.isNull()) {
                throw new IllegalArgumentException("key column %s is null in a change at position %d"
                        .formatted(key.get(index).name(), schema.position(row)));
            }
            boolean last = index == key.size() - 1;
            id.append(last ? value.asText() : value.asText().replace("%", "%25").replace(":", "%3A") + ":");
        }
        if (id.isEmpty() || id.charAt(0) == '_') {
            throw new IllegalArgumentException(
                    "key '%s' cannot be a CouchDB document id: it is empty or starts with an underscore".formatted(id));
        }
        return id.toString();
    }

    /** A column with the way its values take. */
    private static final class Field implements Serializable {
        private final String name;
        private final RowData.FieldGetter getter;
        private final ValueConverter<JsonNode> converter;

        Field(ViewColumn column) {
            this.name = column.name();
            this.getter = ViewSchema.getter(column);
            this.converter = JsonValues.converter(column);
        }

        String name() {
            return name;
        }

        JsonNode value(RowData row) {
            Object value = getter.getFieldOrNull(row);
            return value == null ? JsonNodeFactory.instance.nullNode() : converter.convert(value);
        }
    }
}
