package io.lakehouse.flink.record;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.types.DataType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RecordFormatFactoryTest {
    private static final DataTypes.Field ID = DataTypes.FIELD("id", DataTypes.BIGINT());

    @Test
    void everyColumnIsListed() {
        assertEquals(
                "column name is not listed in 'lakehouse-record.columns'; add \"name\": \"<kind>\" to it (a column of the record's key needs 'value.fields-include' = 'EXCEPT_KEY' instead)",
                refusal(Map.of("columns", "{\"id\": \"integer\"}"), ID, DataTypes.FIELD("name", DataTypes.STRING())));
        assertEquals(
                "'lakehouse-record.columns' lists column gone, which the table does not have; declare it, or take it out of the list",
                refusal(Map.of("columns", "{\"id\": \"integer\", \"gone\": \"text\"}"), ID));
        assertEquals(
                "'lakehouse-record.required' names column gone, which the table does not read from the record; declare it, or take it out of the list",
                refusal(Map.of("columns", "{\"id\": \"integer\"}", "required", "[\"gone\"]"), ID));
    }

    @Test
    void kindsFitTheirColumns() {
        assertEquals(
                "column id: 'number' in 'lakehouse-record.columns' is no kind of value; write one of integer,",
                refusal(Map.of("columns", "{\"id\": \"number\"}"), ID).substring(0, 92));
        assertEquals(
                "column id is BIGINT, but a value of kind 'date' is carried exactly by DATE; declare the column so, or correct its kind in 'lakehouse-record.columns'",
                refusal(Map.of("columns", "{\"id\": \"date\"}"), ID));
        unfit("integer", DataTypes.SMALLINT());
        unfit("integer", DataTypes.DECIMAL(19, 0));
        unfit("boolean_integer", DataTypes.BOOLEAN());
        unfit("decimal", DataTypes.STRING());
        unfit("decimal_text", DataTypes.DECIMAL(38, 2));
        unfit("float", DataTypes.DOUBLE());
        unfit("double", DataTypes.FLOAT());
        unfit("boolean", DataTypes.INT());
        unfit("bits:2", DataTypes.VARBINARY(2));
        unfit("bytes", DataTypes.STRING());
        unfit("date", DataTypes.STRING());
        unfit("timestamp", DataTypes.TIMESTAMP(3));
        unfit("timestamp", DataTypes.TIMESTAMP_LTZ(6));
        unfit("time", DataTypes.TIME());
        unfit("date_text", DataTypes.DATE());
        unfit("timestamp_text", DataTypes.TIMESTAMP(6));
        unfit("geometry", DataTypes.STRING());
        unfit("vector", DataTypes.ARRAY(DataTypes.DOUBLE()));
        unfit("text", DataTypes.VARCHAR(10));
        unfit("json", DataTypes.CHAR(3));
        for (String kind : List.of("bits", "bits:0", "bits:9", "bits:x", "Integer", "")) {
            assertTrue(refused(kind, DataTypes.BYTES()).contains("is no kind of value"), kind);
        }
    }

    @Test
    void reservedColumnsHaveTheirTypes() {
        assertEquals(
                "column __source_pos is INT; declare it as BIGINT",
                refusal(Map.of("columns", "{}"), DataTypes.FIELD("__source_pos", DataTypes.INT())));
        assertEquals(
                "column __error is BYTES; declare it as STRING",
                refusal(Map.of("columns", "{}"), DataTypes.FIELD("__error", DataTypes.BYTES())));
        assertEquals(
                "'lakehouse-record.columns' lists column __op, whose kind is fixed; take it out of the list",
                refusal(Map.of("columns", "{\"__op\": \"text\"}"), DataTypes.FIELD("__op", DataTypes.STRING())));
        assertEquals(
                "columns __error and __raw belong together; declare both, or none to stop at a record that cannot be carried",
                refusal(Map.of("columns", "{}"), DataTypes.FIELD("__raw", DataTypes.BYTES())));
    }

    @Test
    void noColumnIsNotNullBesideAQuarantine() {
        ValidationException wrong = assertThrows(
                ValidationException.class, () -> RecordTable.of("integer", DataTypes.INT().notNull()));
        assertEquals(
                "column a is NOT NULL, but a record that cannot be carried has no value for it; declare it nullable and name it in 'lakehouse-record.required'",
                wrong.getMessage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "id", "[]", "null", "{\"id\": 1}", "{\"id\": \"integer\", \"id\": \"text\"}", "{} {}"})
    void columnsAreAnObject(String columns) {
        assertTrue(refusal(Map.of("columns", columns), ID).startsWith("'lakehouse-record.columns' "));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "id", "{}", "[1]"})
    void requiredColumnsAreAnArray(String required) {
        Map<String, String> options = Map.of("columns", "{\"id\": \"integer\"}", "required", required);
        assertTrue(refusal(options, ID).startsWith("'lakehouse-record.required' "));
    }

    @Test
    void columnsMustBeGiven() {
        assertTrue(refusal(Map.of(), ID).contains("columns"));
    }

    private static void unfit(String kind, DataType type) {
        assertTrue(refused(kind, type).contains("is carried exactly by"), kind);
    }

    private static String refused(String kind, DataType type) {
        return refusal(Map.of("columns", "{\"a\": \"%s\"}".formatted(kind)), DataTypes.FIELD("a", type));
    }

    private static String refusal(Map<String, String> options, DataTypes.Field... columns) {
        return assertThrows(ValidationException.class, () -> new RecordTable(options, List.of(columns)))
                .getMessage();
    }
}
