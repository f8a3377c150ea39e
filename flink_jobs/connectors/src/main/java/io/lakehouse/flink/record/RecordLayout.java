package io.lakehouse.flink.record;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.types.logical.BigIntType;
import org.apache.flink.table.types.logical.BooleanType;
import org.apache.flink.table.types.logical.IntType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.RowType;
import org.apache.flink.table.types.logical.VarBinaryType;
import org.apache.flink.table.types.logical.VarCharType;

/** What a table takes from a record: which fields, how, where to; and where a refused record goes. */
final class RecordLayout implements Serializable {
    /** Place of a field that is read but not a column. */
    static final int NOWHERE = -1;

    private static final String OPERATION = "__op";
    private static final String ERROR = "__error";
    private static final String RAW = "__raw";
    private static final LogicalType STRING = new VarCharType(VarCharType.MAX_LENGTH);
    private static final LogicalType BYTES = new VarBinaryType(VarBinaryType.MAX_LENGTH);

    /** Fields that the connector adds to the source's columns, besides {@code __before_*}. */
    private static final Map<String, Reserved> RESERVED = Map.of(
            OPERATION, new Reserved(STRING, true, Texts::operation),
            "__deleted", new Reserved(new BooleanType(), true, Texts::boolText),
            "__source_file", new Reserved(STRING, true, Texts::string),
            "__source_pos", new Reserved(new BigIntType(), true, Numbers::integer64),
            "__source_row", new Reserved(new BigIntType(), true, Numbers::integer64),
            "__source_gtid", new Reserved(STRING, false, Texts::string),
            "__source_ts_us", new Reserved(new BigIntType(), true, Numbers::integer64),
            "__source_epoch", new Reserved(new IntType(), false, Texts::epoch));

    private final List<Field> fields;
    private final int operation;
    private final int arity;
    private final int error;
    private final int raw;

    private RecordLayout(List<Field> fields, int operation, int arity, int error, int raw) {
        this.fields = fields;
        this.operation = operation;
        this.arity = arity;
        this.error = error;
        this.raw = raw;
    }

    /**
     * A field of the record.
     *
     * @param name its name
     * @param column place of its column, or {@link #NOWHERE}
     * @param required whether the record must have it, and not null
     * @param decoder how its value is taken
     */
    record Field(String name, int column, boolean required, FieldDecoder decoder) implements Serializable {}

    private record Reserved(LogicalType type, boolean required, FieldDecoder decoder) {}

    /**
     * Lays out the columns of a table.
     *
     * @param row physical columns that the format has to fill
     * @param kinds kinds of the values by column
     * @param required columns whose value must be there
     * @throws ValidationException if a column cannot be filled, or the options name one that does not exist
     */
    static RecordLayout of(RowType row, Map<String, String> kinds, Set<String> required) {
        int error = control(row, ERROR, STRING);
        int raw = control(row, RAW, BYTES);
        if ((error == NOWHERE) != (raw == NOWHERE)) {
            throw new ValidationException("columns %s and %s belong together; declare both, or none to stop at a record that cannot be carried"
                    .formatted(ERROR, RAW));
        }
        List<Field> fields = new ArrayList<>();
        Set<String> unknown = new LinkedHashSet<>(kinds.keySet());
        Set<String> missing = new LinkedHashSet<>(required);
        for (int index = 0; index < row.getFieldCount(); index++) {
            String name = row.getFieldNames().get(index);
            unknown.remove(name);
            if (index == error || index == raw) {
                continue;
            }
            missing.remove(name);
            LogicalType type = row.getTypeAt(index);
            if (error != NOWHERE && !type.isNullable()) {
                throw new ValidationException("column %s is NOT NULL, but a record that cannot be carried has no value for it; declare it nullable and name it in '%s'"
                        .formatted(name, RecordFormatFactory.REQUIRED_OPTION));
            }
            fields.add(field(name, index, type, kinds, required.contains(name) || !type.isNullable()));
        }
        if (!unknown.isEmpty()) {
            throw new ValidationException("'%s' lists %s, which the table does not have; declare it, or take it out of the list"
                    .formatted(RecordFormatFactory.COLUMNS_OPTION, named(unknown)));
        }
        if (!missing.isEmpty()) {
            throw new ValidationException("'%s' names %s, which the table does not read from the record; declare it, or take it out of the list"
                    .formatted(RecordFormatFactory.REQUIRED_OPTION, named(missing)));
        }
        if (row.getFieldIndex(OPERATION) == NOWHERE) {
            // Without it a TRUNCATE would be taken for a row.
            fields.add(new Field(OPERATION, NOWHERE, true, Texts::operation));
        }
        List<String> names = fields.stream().map(Field::name).toList();
        return new RecordLayout(List.copyOf(fields), names.indexOf(OPERATION), row.getFieldCount(), error, raw);
    }

    private static Field field(
            String name, int index, LogicalType type, Map<String, String> kinds, boolean required) {
        Optional<String> kind = Optional.ofNullable(kinds.get(name));
        Reserved reserved = RESERVED.get(name);
        if (reserved == null) {
            return new Field(name, index, required, WireKind.decoder(name, kind.orElseThrow(() -> unlisted(name)), type));
        }
        if (kind.isPresent()) {
            throw new ValidationException("'%s' lists column %s, whose kind is fixed; take it out of the list"
                    .formatted(RecordFormatFactory.COLUMNS_OPTION, name));
        }
        checkType(name, type, reserved.type());
        return new Field(name, index, required || reserved.required(), reserved.decoder());
    }

    private static String named(Set<String> columns) {
        return "column " + String.join(", ", columns);
    }

    private static ValidationException unlisted(String name) {
        return new ValidationException("column %s is not listed in '%s'; add \"%s\": \"<kind>\" to it (a column of the record's key needs 'value.fields-include' = 'EXCEPT_KEY' instead)"
                .formatted(name, RecordFormatFactory.COLUMNS_OPTION, name));
    }

    private static int control(RowType row, String name, LogicalType wanted) {
        int index = row.getFieldIndex(name);
        if (index != NOWHERE) {
            checkType(name, row.getTypeAt(index), wanted);
        }
        return index;
    }

    private static void checkType(String name, LogicalType type, LogicalType wanted) {
        if (!type.copy(true).equals(wanted)) {
            throw new ValidationException("column %s is %s; declare it as %s"
                    .formatted(name, type.copy(true).asSummaryString(), wanted.asSummaryString()));
        }
    }

    /** The fields that are read, each of them from every record. */
    List<Field> fields() {
        return fields;
    }

    /** Place of the operation among the fields. */
    int operation() {
        return operation;
    }

    /** Columns of a row. */
    int arity() {
        return arity;
    }

    /** Whether the table has columns for a record that cannot be carried. */
    boolean takesRefused() {
        return error != NOWHERE;
    }

    /** Column that says why a record was refused. */
    int error() {
        return error;
    }

    /** Column of a refused record's bytes. */
    int raw() {
        return raw;
    }
}
