package io.lakehouse.flink;

import io.lakehouse.flink.view.ViewColumn;
import io.lakehouse.flink.view.ViewSchema;
import java.util.ArrayList;
import java.util.List;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.catalog.Column;
import org.apache.flink.table.catalog.ResolvedSchema;
import org.apache.flink.table.catalog.UniqueConstraint;
import org.apache.flink.table.types.DataType;

/** Schemas of sink tables as Flink hands them to a factory. */
public final class TestSchemas {
    private TestSchemas() {}

    /** The columns, then {@code _deleted} and {@code _position}. */
    public static ViewSchema view(List<String> key, Column... columns) {
        List<Column> all = new ArrayList<>(List.of(columns));
        all.add(Column.physical("_deleted", DataTypes.BOOLEAN()));
        all.add(Column.physical("_position", DataTypes.BIGINT()));
        return ViewSchema.of("test", new ResolvedSchema(all, List.of(), UniqueConstraint.primaryKey("pk", key)));
    }

    /** One column on its own. */
    public static ViewColumn column(DataType type) {
        return new ViewColumn("c", type.getLogicalType(), 0);
    }
}
