package io.lakehouse.flink.view;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.catalog.Column;
import org.apache.flink.table.catalog.ResolvedSchema;
import org.apache.flink.table.catalog.UniqueConstraint;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.LogicalTypeRoot;

/**
 * What a serving sink takes: the view's columns, its declared primary key, and two control columns that say what to do
 * with the row, {@code _deleted BOOLEAN} (remove the row with this key) and {@code _position BIGINT} (the source
 * position; the newest one decides).
 */
public final class ViewSchema implements Serializable {
    /** Name under which a serving store shows the position of the change that wrote a row. */
    public static final String STORED_POSITION = "source_position";

    private static final String DELETED = "_deleted";
    private static final String POSITION = "_position";

    private final List<ViewColumn> columns;
    private final List<ViewColumn> key;
    private final int deletedIndex;
    private final int positionIndex;

    private ViewSchema(List<ViewColumn> columns, List<ViewColumn> key, int deletedIndex, int positionIndex) {
        this.columns = columns;
        this.key = key;
        this.deletedIndex = deletedIndex;
        this.positionIndex = positionIndex;
    }

    /**
     * Reads the schema of a sink table.
     *
     * @param table name for messages
     * @throws ValidationException if a control column or the primary key is missing, or a column has a reserved name
     */
    public static ViewSchema of(String table, ResolvedSchema schema) {
        List<ViewColumn> columns = new ArrayList<>();
        List<Column> physical = schema.getColumns().stream().filter(Column::isPhysical).toList();
        for (int index = 0; index < physical.size(); index++) {
            Column column = physical.get(index);
            if (column.getName().equals(STORED_POSITION)) {
                throw new ValidationException(
                        "sink table %s: column %s is reserved for the position, which the sink writes itself from %s"
                                .formatted(table, STORED_POSITION, POSITION));
            }
            columns.add(new ViewColumn(column.getName(), column.getDataType().getLogicalType(), index));
        }
        ViewColumn deleted = take(table, columns, DELETED, LogicalTypeRoot.BOOLEAN);
        ViewColumn position = take(table, columns, POSITION, LogicalTypeRoot.BIGINT);
        List<String> keyNames = schema.getPrimaryKey()
                .map(UniqueConstraint::getColumns)
                .orElseThrow(() -> new ValidationException(
                        "sink table %s: declare the view's key as PRIMARY KEY (...) NOT ENFORCED".formatted(table)));
        List<ViewColumn> key = keyNames.stream()
                .map(name -> columns.stream()
                        .filter(column -> column.name().equals(name))
                        .findFirst()
                        .orElseThrow(() -> new ValidationException(
                                "sink table %s: %s cannot be part of the primary key".formatted(table, name))))
                .toList();
        return new ViewSchema(List.copyOf(columns), key, deleted.index(), position.index());
    }

    private static ViewColumn take(String table, List<ViewColumn> columns, String name, LogicalTypeRoot root) {
        ViewColumn found = columns.stream()
                .filter(column -> column.name().equals(name) && column.type().is(root))
                .findFirst()
                .orElseThrow(() -> new ValidationException(
                        "sink table %s: control column %s %s is missing".formatted(table, name, root)));
        columns.remove(found);
        return found;
    }

    /** The view's columns in declared order, without the control columns. */
    public List<ViewColumn> columns() {
        return columns;
    }

    /** The key columns, in the order of the primary key. */
    public List<ViewColumn> key() {
        return key;
    }

    /** Whether the row removes its key; a row that does not say is refused. */
    public boolean isDeleted(RowData row) {
        return row.getBoolean(required(row, deletedIndex, DELETED));
    }

    /** Source position of the change; a row without one is refused. */
    public long position(RowData row) {
        return row.getLong(required(row, positionIndex, POSITION));
    }

    private static int required(RowData row, int index, String name) {
        if (row.isNullAt(index)) {
            throw new IllegalArgumentException("a row reached the sink without %s".formatted(name));
        }
        return index;
    }

    /** Reads one column of a row into Flink's internal value, null if it is null. */
    public static RowData.FieldGetter getter(ViewColumn column) {
        LogicalType nullable = column.type().copy(true);
        return RowData.createFieldGetter(nullable, column.index());
    }
}
