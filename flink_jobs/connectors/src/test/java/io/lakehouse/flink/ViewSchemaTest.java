package io.lakehouse.flink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.lakehouse.flink.view.ViewColumn;
import io.lakehouse.flink.view.ViewSchema;
import java.util.List;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.catalog.Column;
import org.apache.flink.table.catalog.ResolvedSchema;
import org.apache.flink.table.data.GenericRowData;
import org.junit.jupiter.api.Test;

class ViewSchemaTest {
    private static final Column ID = Column.physical("id", DataTypes.INT().notNull());

    @Test
    void separatesTheControlColumns() {
        ViewSchema schema = TestSchemas.view(List.of("id"), ID, Column.physical("a", DataTypes.STRING()));
        assertEquals(
                List.of("id", "a"),
                schema.columns().stream().map(ViewColumn::name).toList());
        GenericRowData row = GenericRowData.of(1, null, true, 7L);
        assertEquals(7L, schema.position(row));
        assertEquals(true, schema.isDeleted(row));
    }

    @Test
    void refusesARowThatDoesNotSayWhatToDo() {
        ViewSchema schema = TestSchemas.view(List.of("id"), ID);
        assertThrows(IllegalArgumentException.class, () -> schema.isDeleted(GenericRowData.of(1, null, 7L)));
        assertThrows(IllegalArgumentException.class, () -> schema.position(GenericRowData.of(1, false, null)));
    }

    @Test
    void needsControlColumnsAndKey() {
        assertThrows(ValidationException.class, () -> ViewSchema.of("t", ResolvedSchema.of(ID)));
        assertThrows(
                ValidationException.class,
                () -> ViewSchema.of(
                        "t",
                        ResolvedSchema.of(
                                ID,
                                Column.physical("_deleted", DataTypes.BOOLEAN()),
                                Column.physical("_position", DataTypes.BIGINT()))));
        assertThrows(
                ValidationException.class,
                () -> TestSchemas.view(List.of("id"), ID, Column.physical("source_position", DataTypes.BIGINT())));
    }
}
