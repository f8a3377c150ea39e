package io.lakehouse.flink.cassandra;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.datastax.driver.core.LocalDate;
import io.lakehouse.flink.TestSchemas;
import io.lakehouse.flink.view.ViewSchema;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.time.LocalDateTime;
import java.util.Date;
import java.util.List;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.catalog.Column;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.junit.jupiter.api.Test;

class ViewStatementsTest {
    private static final ViewSchema SCHEMA = TestSchemas.view(
            List.of("origin", "id"),
            Column.physical("id", DataTypes.INT().notNull()),
            Column.physical("origin", DataTypes.STRING().notNull()),
            Column.physical("day", DataTypes.DATE()));
    private static final ViewStatements STATEMENTS = new ViewStatements("air", "departures", SCHEMA);

    @Test
    void upsertBindsEveryColumnAndThePosition() {
        assertEquals(
                "INSERT INTO \"air\".\"departures\" (\"id\", \"origin\", \"day\", \"source_position\")"
                        + " VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
                STATEMENTS.upsert());
        assertArrayEquals(
                new Object[] {1, "JFK", null, 99L, 99L},
                STATEMENTS.upsertValues(GenericRowData.of(1, StringData.fromString("JFK"), null, false, 99L)));
    }

    @Test
    void deleteFindsTheRowByTheViewsKey() {
        assertEquals(
                "DELETE FROM \"air\".\"departures\" USING TIMESTAMP ? WHERE \"origin\" = ? AND \"id\" = ?",
                STATEMENTS.delete());
        assertArrayEquals(
                new Object[] {99L, "JFK", 1},
                STATEMENTS.deleteValues(GenericRowData.of(1, StringData.fromString("JFK"), null, true, 99L)));
    }

    @Test
    void valuesAreWhatTheDriverBinds() {
        assertEquals(
                LocalDate.fromYearMonthDay(2013, 1, 1),
                CassandraValues.converter(TestSchemas.column(DataTypes.DATE())).convert(15706));
        assertEquals(
                new BigDecimal("1.50"),
                CassandraValues.converter(TestSchemas.column(DataTypes.DECIMAL(5, 2)))
                        .convert(DecimalData.fromBigDecimal(new BigDecimal("1.50"), 5, 2)));
        assertEquals(
                1_000_000L,
                CassandraValues.converter(TestSchemas.column(DataTypes.TIME(3))).convert(1));
        assertEquals(
                ByteBuffer.wrap(new byte[] {0, 1}),
                CassandraValues.converter(TestSchemas.column(DataTypes.BYTES())).convert(new byte[] {0, 1}));
    }

    @Test
    void vectorsAreListsOfFloats() {
        var converter = CassandraValues.converter(TestSchemas.column(DataTypes.ARRAY(DataTypes.FLOAT())));
        assertEquals(
                List.of(0.1f, Float.MAX_VALUE),
                converter.convert(new GenericArrayData(new float[] {0.1f, Float.MAX_VALUE})));
        assertEquals(List.of(), converter.convert(new GenericArrayData(new float[0])));
        assertThrows(
                IllegalArgumentException.class,
                () -> converter.convert(new GenericArrayData(new Float[] {1f, null})));
    }

    @Test
    void timestampsAreNeverCut() {
        var converter = CassandraValues.converter(TestSchemas.column(DataTypes.TIMESTAMP(6)));
        TimestampData millis = TimestampData.fromLocalDateTime(LocalDateTime.parse("1970-01-01T00:00:01.002"));
        TimestampData micros = TimestampData.fromLocalDateTime(LocalDateTime.parse("1970-01-01T00:00:01.002003"));
        assertEquals(new Date(1002), converter.convert(millis));
        assertThrows(IllegalArgumentException.class, () -> converter.convert(micros));
    }

    @Test
    void refusesTypesWithoutAnExactForm() {
        assertThrows(
                ValidationException.class,
                () -> CassandraValues.converter(TestSchemas.column(DataTypes.ARRAY(DataTypes.INT()))));
    }
}
