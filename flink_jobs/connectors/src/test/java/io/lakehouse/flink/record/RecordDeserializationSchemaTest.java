package io.lakehouse.flink.record;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.types.RowKind;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class RecordDeserializationSchemaTest {
    private static final List<DataTypes.Field> COLUMNS = List.of(
            DataTypes.FIELD("id", DataTypes.BIGINT()),
            DataTypes.FIELD("name", DataTypes.STRING()),
            DataTypes.FIELD("__deleted", DataTypes.BOOLEAN()),
            DataTypes.FIELD("__op", DataTypes.STRING()),
            DataTypes.FIELD("__source_file", DataTypes.STRING()),
            DataTypes.FIELD("__source_pos", DataTypes.BIGINT()),
            DataTypes.FIELD("__source_row", DataTypes.BIGINT()),
            DataTypes.FIELD("__source_gtid", DataTypes.STRING()),
            DataTypes.FIELD("__source_ts_us", DataTypes.BIGINT()),
            DataTypes.FIELD("__before_name", DataTypes.STRING()));
    private static final Map<String, String> OPTIONS = Map.of(
            "columns", "{\"id\": \"integer\", \"name\": \"text\", \"__before_name\": \"text\"}", "required", "[\"id\"]");
    private static final String END =
            "\"__deleted\":\"false\",\"__op\":\"u\",\"__source_file\":\"binlog.000001\",\"__source_pos\":4,\"__source_row\":0,\"__source_gtid\":null,\"__source_ts_us\":1700000000000000,\"__before_name\":\"b\"}";
    private static final String RECORD = "{\"id\":7,\"name\":\"a\"," + END;

    private final RecordTable table = new RecordTable(OPTIONS, RecordTable.quarantine(COLUMNS));

    @Test
    void aRecordBecomesARow() {
        GenericRowData row = table.row(RECORD);
        assertEquals(RowKind.INSERT, row.getRowKind());
        assertEquals(
                GenericRowData.of(
                        7L,
                        StringData.fromString("a"),
                        false,
                        StringData.fromString("u"),
                        StringData.fromString("binlog.000001"),
                        4L,
                        0L,
                        null,
                        1700000000000000L,
                        StringData.fromString("b"),
                        null,
                        null),
                row);
    }

    @Test
    void fieldsThatNobodyDeclaredAreIgnored() {
        String more = RECORD.replace(
                "{\"id\"", "{\"x\":{\"id\":1,\"y\":[[{}],\"]\"]},\"z\":1e999,\"x\":[],\"__source_snapshot\":\"last\",\"id\"");
        assertEquals(table.row(RECORD), table.row(more));
    }

    @Test
    void orderAndSpaceDoNotMatter() {
        assertEquals(
                table.row(RECORD), table.row(" \r\n\t{" + END.replace("}", "") + ", \"name\" : \"a\" ,\n\"id\" : 7 } \n"));
    }

    @Test
    void whatIsMissingIsNull() {
        GenericRowData row = table.row(RECORD.replace("\"name\":\"a\",", ""));
        assertNull(table.field(row, "name"));
        assertNull(table.field(table.row(RECORD.replace("\"a\"", "null")), "name"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"id", "__op", "__deleted", "__source_file", "__source_pos", "__source_row", "__source_ts_us"})
    void requiredFieldsMustBeThere(String name) {
        String renamed = RECORD.replace("\"" + name + "\"", "\"x\"");
        assertEquals("column %s: is required, but missing".formatted(name), table.error(renamed));
        String nulled = RECORD.replaceFirst("\"" + name + "\":(\"[^\"]*\"|\\d+)", "\"" + name + "\":null");
        assertEquals("column %s: is required, but null".formatted(name), table.error(nulled));
    }

    @Test
    void withoutAQuarantineNotNullMeansRequired() {
        RecordTable strict = new RecordTable(
                Map.of("columns", "{\"id\": \"integer\"}"),
                List.of(DataTypes.FIELD("id", DataTypes.BIGINT().notNull())));
        byte[] record = "{\"id\":null,\"__op\":\"c\"}".getBytes(StandardCharsets.UTF_8);
        IllegalStateException wrong = assertThrows(IllegalStateException.class, () -> strict.deserialize(record));
        assertEquals("column id: is required, but null", wrong.getMessage());
        assertEquals(
                GenericRowData.of(1L), strict.deserialize("{\"id\":1,\"__op\":\"c\"}".getBytes(StandardCharsets.UTF_8)));
    }

    @Test
    void aTombstoneHasNoRow() {
        assertNull(table.deserialize(null));
    }

    @Test
    void aTruncateIsRefusedWhateverElseItHolds() {
        assertEquals("TRUNCATE of the table", table.error(RECORD.replace("\"u\"", "\"t\"")));
        assertEquals("TRUNCATE of the table", table.error("{\"id\":null,\"name\":5,\"__op\":\"t\"}"));
        RecordTable withoutOperation = RecordTable.of("integer", DataTypes.INT());
        assertEquals("TRUNCATE of the table", withoutOperation.error("{\"__op\":\"t\"}"));
        assertEquals("column __op: is required, but missing", withoutOperation.error("{\"a\":1}"));
    }

    @Test
    void operationsAndDeletesAreKnownOnes() {
        assertEquals("column __op: expected one of c, u, d, r, got 'm'", table.error(RECORD.replace("\"u\"", "\"m\"")));
        assertEquals(true, table.field(table.row(RECORD.replace("\"false\"", "\"true\"")), "__deleted"));
        assertEquals(true, table.field(table.row(RECORD.replace("\"false\"", "true")), "__deleted"));
        assertEquals(
                "column __deleted: expected true or false, got 'no'", table.error(RECORD.replace("\"false\"", "\"no\"")));
    }

    @Test
    void anEpochIsTextAndMayBeMissing() {
        List<DataTypes.Field> columns = new ArrayList<>(COLUMNS);
        columns.add(DataTypes.FIELD("__source_epoch", DataTypes.INT()));
        RecordTable epochs = new RecordTable(OPTIONS, RecordTable.quarantine(columns));
        assertNull(epochs.field(epochs.row(RECORD), "__source_epoch"));
        for (int epoch : List.of(0, 7, 15)) {
            assertEquals(epoch, epochs.field(epochs.row(ofEpoch("\"" + epoch + "\"")), "__source_epoch"));
        }
        for (String wrong : List.of("16", "-1", "", "1x", "001")) {
            assertEquals(
                    "column __source_epoch: expected an epoch from 0 to 15, got '" + wrong + "'",
                    epochs.error(ofEpoch("\"" + wrong + "\"")));
        }
        assertEquals("column __source_epoch: expected a string, got 1", epochs.error(ofEpoch("1")));
    }

    private static String ofEpoch(String json) {
        return "{\"__source_epoch\":" + json + "," + RECORD.substring(1);
    }

    @Test
    void theFirstRefusalIsTold() {
        assertEquals(
                "column id: expected an integer, got an object",
                table.error(RECORD.replace(":7", ":{\"id\":[{}]}").replace("\"a\"", "5")));
    }

    @Test
    void aFieldIsThereOnce() {
        assertEquals("column id: is there twice", table.error(RECORD.replace("{\"id\":7", "{\"id\":7,\"id\":7")));
        assertEquals(
                "column name: is there twice", table.error(RECORD.replace("{\"id\"", "{\"n\\u0061me\":null,\"id\"")));
        assertEquals("column id: is there twice", table.error(RECORD.replace("{\"id\":7", "{\"id\":7,\"id\":{\"a\":[]}")));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "``|record: expected an object, got nothing",
                "` `|record: expected an object, got nothing",
                "`[{}]`|record: expected an object, got an array",
                "`null`|record: expected an object, got null",
                "`\"{}\"`|record: expected an object, got '{}'",
                "`5`|record: expected an object, got 5",
                "`{`|record: not JSON at character",
                "`{\"id\":7`|record: not JSON at character",
                "`{\"id\":7,}`|record: not JSON at character",
                "`{\"id\":07}`|record: not JSON at character",
                "`{\"id\":7.}`|record: not JSON at character",
                "`{\"id\":+7}`|record: not JSON at character",
                "`{\"id\":NaN}`|record: not JSON at character",
                "`{'id':7}`|record: not JSON at character",
                "`{\"id\":7/**/}`|record: not JSON at character",
                "`{\"name\":\"a\tb\"}`|record: not JSON at character",
                "`{\"name\":\"\\x\"}`|record: not JSON at character",
                "`{\"x\":\"\\x\"}`|record: not JSON at character",
                "`{\"x\":[1,}`|record: not JSON at character",
                "`{\"id\":7]`|record: not JSON at character",
                "`\u0000`|record: not JSON at character",
                "`\uFEFF{}`|record: not JSON at character",
            })
    void whatIsNotAnObjectOfJsonIsRefused(String record, String why) {
        // Where the parser gives up may be one or two characters behind the culprit.
        assertEquals(why, table.error(record).replaceAll("character \\d+: .*", "character"), record);
    }

    @Test
    void nothingStandsBehindTheRecord() {
        assertEquals("record: there is more behind its end", table.error(RECORD + "{}"));
        assertTrue(table.error(RECORD + "x").startsWith("record: not JSON at character "));
        assertTrue(table.error(RECORD + "\u0000").startsWith("record: not JSON at character "));
        assertTrue(table.error(RECORD + "}").startsWith("record: not JSON at character "));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"80", "C0AF", "C1BF", "E080AF", "EDA080", "EDBFBF", "F08080AF", "F4908080", "F5808080", "FE", "FF", "E282", "C3", "F09F98"})
    void bytesThatAreNotUtf8AreRefusedWhereverTheyStand(String hex) {
        byte[] wrong = HexFormat.of().parseHex(hex);
        for (String before : List.of("{\"id\":7,\"name\":\"", "{\"nobody\":\"", "")) {
            ByteArrayOutputStream record = new ByteArrayOutputStream();
            record.writeBytes(before.getBytes(StandardCharsets.UTF_8));
            record.writeBytes(wrong);
            record.writeBytes(("\"," + END).getBytes(StandardCharsets.UTF_8));
            assertEquals("record: not UTF-8 at byte " + before.length(), table.error(record.toByteArray()));
        }
    }

    @Test
    void otherEncodingsAreRefused() {
        assertTrue(table.error(RECORD.getBytes(StandardCharsets.UTF_16LE)).startsWith("record: not JSON"));
        assertTrue(table.error(RECORD.getBytes(StandardCharsets.UTF_16)).startsWith("record: not UTF-8 at byte 0"));
    }

    @Test
    void reasonsAreShort() {
        String shown = table.error(RECORD.replace(":7", ":\"" + "x".repeat(100_000) + "\""));
        assertEquals("column id: expected an integer, got '" + "x".repeat(57) + "...'", shown);
        assertEquals(
                "column id: expected an integer, got '" + "x".repeat(60) + "'",
                table.error(RECORD.replace(":7", ":\"" + "x".repeat(60) + "\"")));
        String pairs = table.error(RECORD.replace(":7", ":\"x" + "😀".repeat(50) + "\""));
        assertEquals("column id: expected an integer, got 'x" + "😀".repeat(28) + "...'", pairs);
        String cut = table.error(RECORD.replace(":7", ":\"" + "😀".repeat(50) + "\""));
        assertEquals("column id: expected an integer, got '" + "😀".repeat(28) + "...'", cut);
        assertEquals(
                "column id: expected an integer, got 'a?b?'", table.error(RECORD.replace(":7", ":\"a\\nb\\ud800\"")));
        assertTrue(table.error("{\"id\":" + "x".repeat(1000) + "}").length() < 150);
    }

    @Test
    void manyFieldsThatNobodyDeclaredAreIgnored() {
        StringBuilder record = new StringBuilder("{");
        for (int number = 0; number < 20_000; number++) {
            record.append("\"f").append(number).append("\":0,");
        }
        assertEquals(table.row(RECORD), table.row(record + RECORD.substring(1)));
    }

    @Test
    void anErrorLeavesNothingBehind() {
        table.error("{\"id\":1,\"name\":\"left\"");
        table.error("{\"id\":1,\"name\":[[[");
        assertEquals(table.row(RECORD), table.row(RECORD));
        assertEquals("column id: is required, but missing", table.error("{" + END));
    }

    @Test
    void deepAndLongRecordsAreRead() {
        int deep = 100_000;
        assertEquals(
                table.row(RECORD),
                table.row("{\"x\":" + "[".repeat(deep) + "]".repeat(deep) + "," + RECORD.substring(1)));
        String longText = "ü".repeat(3_000_000);
        GenericRowData row = table.row(RECORD.replace("\"a\"", '"' + longText + '"'));
        assertEquals(longText, table.field(row, "name").toString());
        assertEquals(table.row(RECORD), table.row(RECORD));
    }

    @Test
    void aFieldOfEveryNameIsRead() {
        List<DataTypes.Field> columns = new ArrayList<>();
        StringBuilder kinds = new StringBuilder("{");
        StringBuilder record = new StringBuilder("{\"__op\":\"c\"");
        for (int index = 0; index < 1_000; index++) {
            String name = "c ü %d \\\"".formatted(index);
            columns.add(DataTypes.FIELD(name.replace("\\\"", "\""), DataTypes.INT()));
            kinds.append(index == 0 ? "" : ",").append("\"%s\": \"integer\"".formatted(name));
            record.append(",\"%s\":%d".formatted(name, index));
        }
        RecordTable wide =
                new RecordTable(Map.of("columns", kinds + "}"), RecordTable.quarantine(columns));
        GenericRowData row = wide.row(record + "}");
        for (int index = 0; index < 1_000; index++) {
            assertEquals(index, row.getField(index));
        }
    }
}
