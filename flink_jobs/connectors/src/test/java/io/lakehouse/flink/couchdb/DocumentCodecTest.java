package io.lakehouse.flink.couchdb;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.lakehouse.flink.TestSchemas;
import java.math.BigDecimal;
import java.time.LocalDateTime;
import java.util.List;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.catalog.Column;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.DataType;
import org.junit.jupiter.api.Test;

class DocumentCodecTest {
    private static final DocumentCodec ONE_KEY = new DocumentCodec(TestSchemas.view(
            List.of("id"),
            Column.physical("id", DataTypes.BIGINT().notNull()),
            Column.physical("name", DataTypes.STRING())));
    private static final DocumentCodec TWO_KEYS = new DocumentCodec(TestSchemas.view(
            List.of("a", "b"),
            Column.physical("a", DataTypes.STRING().notNull()),
            Column.physical("b", DataTypes.STRING().notNull())));

    @Test
    void documentHoldsEveryColumnAndThePosition() {
        Change change = ONE_KEY.encode(GenericRowData.of(7L, null, false, 99L));
        assertEquals("7", change.id());
        assertEquals(99L, change.position());
        assertEquals(
                "{\"_id\":\"7\",\"id\":7,\"name\":null,\"source_position\":99}",
                change.document().toString());
    }

    @Test
    void tombstoneKeepsThePosition() {
        assertEquals(
                "{\"_id\":\"7\",\"_deleted\":true,\"source_position\":99}",
                ONE_KEY.encode(GenericRowData.of(7L, null, true, 99L)).document().toString());
    }

    @Test
    void differentKeysNeverShareAnId() {
        assertEquals("a%3Ab:c", id("a:b", "c"));
        assertEquals("a:b:c", id("a", "b:c"));
        assertEquals("a%253A:b", id("a%3A", "b"));
    }

    @Test
    void refusesIdsThatCouchDbKeepsForItself() {
        assertThrows(IllegalArgumentException.class, () -> id("_design/x", "y"));
    }

    @Test
    void numbersOnlyWhereADoubleHoldsThem() {
        assertEquals("9007199254740992", json(DataTypes.BIGINT(), 1L << 53));
        assertEquals("\"9007199254740993\"", json(DataTypes.BIGINT(), (1L << 53) + 1));
        assertEquals("\"-9223372036854775808\"", json(DataTypes.BIGINT(), Long.MIN_VALUE));
        assertEquals("0.1", json(DataTypes.FLOAT(), 0.1f));
        assertEquals("1.0E300", json(DataTypes.DOUBLE(), 1e300));
        assertEquals(
                "\"-99999999.90\"",
                json(DataTypes.DECIMAL(10, 2), DecimalData.fromBigDecimal(new BigDecimal("-99999999.90"), 10, 2)));
        assertThrows(IllegalArgumentException.class, () -> json(DataTypes.DOUBLE(), Double.NaN));
    }

    @Test
    void timesAreIsoWithMicroseconds() {
        LocalDateTime time = LocalDateTime.parse("2013-01-01T10:15:00");
        assertEquals(
                "\"2013-01-01T10:15:00.000000Z\"",
                json(DataTypes.TIMESTAMP(6), TimestampData.fromLocalDateTime(time)));
        assertEquals(
                "\"2013-01-01T10:15:00.000001Z\"",
                json(DataTypes.TIMESTAMP_LTZ(6), TimestampData.fromLocalDateTime(time.plusNanos(1_000))));
        assertEquals("\"1000-01-01\"", json(DataTypes.DATE(), -354285));
        assertThrows(
                IllegalArgumentException.class,
                () -> json(DataTypes.TIMESTAMP(9), TimestampData.fromLocalDateTime(time.plusNanos(1))));
    }

    @Test
    void bytesAreBase64AndBooleansThemselves() {
        assertEquals("\"AP8Q\"", json(DataTypes.BYTES(), new byte[] {0, -1, 16}));
        assertEquals("true", json(DataTypes.BOOLEAN(), true));
        assertThrows(
                ValidationException.class,
                () -> JsonValues.converter(TestSchemas.column(DataTypes.ARRAY(DataTypes.INT()))));
    }

    @Test
    void vectorsAreArraysOfNumbers() {
        DataType vector = DataTypes.ARRAY(DataTypes.FLOAT());
        assertEquals(
                "[0.1,\"-0.0\",3.4028235E38,1.4E-45]",
                json(vector, new GenericArrayData(new float[] {0.1f, -0f, Float.MAX_VALUE, Float.MIN_VALUE})));
        assertEquals("[]", json(vector, new GenericArrayData(new float[0])));
        assertThrows(
                IllegalArgumentException.class, () -> json(vector, new GenericArrayData(new float[] {Float.NaN})));
        assertThrows(
                IllegalArgumentException.class, () -> json(vector, new GenericArrayData(new Float[] {1f, null})));
    }

    private static String id(String a, String b) {
        return TWO_KEYS.encode(GenericRowData.of(StringData.fromString(a), StringData.fromString(b), false, 1L))
                .id();
    }

    private static String json(DataType type, Object value) {
        return JsonValues.converter(TestSchemas.column(type)).convert(value).toString();
    }
}
