package io.lakehouse.flink.record;

import static io.lakehouse.flink.record.RecordTable.refusal;
import static io.lakehouse.flink.record.RecordTable.value;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.util.Arrays;
import java.util.Base64;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.data.StringData;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Strings, booleans and bytes. */
class TextsTest {
    @Test
    void emptyIsNotNullAndNullIsNotAWord() {
        assertEquals(StringData.fromString(""), value("text", DataTypes.STRING(), "\"\""));
        assertEquals(StringData.fromString("null"), value("text", DataTypes.STRING(), "\"null\""));
        assertNull(value("text", DataTypes.STRING(), "null"));
        assertArrayEquals(new byte[0], (byte[]) value("bytes", DataTypes.BYTES(), "\"\""));
        assertNull(value("bytes", DataTypes.BYTES(), "null"));
    }

    @Test
    void everyCharacterIsCarried() {
        assertEquals(StringData.fromString("😀 ü \u0000"), value("text", DataTypes.STRING(), "\"😀 ü \\u0000\""));
        assertEquals(StringData.fromString("😀"), value("text", DataTypes.STRING(), "\"\\ud83d\\ude00\""));
        StringBuilder all = new StringBuilder();
        for (int point = 0x20; point <= Character.MAX_CODE_POINT; point += point < 0x1000 ? 1 : 97) {
            if (point != '"' && point != '\\' && !(point >= 0xD800 && point <= 0xDFFF)) {
                all.appendCodePoint(point);
            }
        }
        StringData value = (StringData) value("text", DataTypes.STRING(), "\"" + all + "\"");
        assertEquals(all.toString(), value.toString());
        assertEquals(all.toString(), StringData.fromBytes(value.toBytes()).toString());
    }

    @ParameterizedTest
    @CsvSource({
        "\\ud83d,character 0 is half of one (\\ud83d)",
        "ab\\ude00,character 2 is half of one (\\ude00)",
        "\\ud83dx,character 0 is half of one (\\ud83d)",
        "😀\\ude00\\ud83d,character 2 is half of one (\\ude00)",
    })
    void halfACharacterIsRefused(String text, String why) {
        assertEquals(why, refusal("text", DataTypes.STRING(), '"' + text + '"'));
    }

    @Test
    void jsonIsTheTextItIs() {
        String text = "{\"k\": [1, 2.50, null]}";
        assertEquals(
                StringData.fromString(text),
                value("json", DataTypes.STRING(), '"' + text.replace("\"", "\\\"") + '"'));
        assertEquals("expected a string, got an object", refusal("json", DataTypes.STRING(), text));
        assertEquals("expected a string, got 5", refusal("text", DataTypes.STRING(), "5"));
    }

    @Test
    void booleansAreTrueOrFalse() {
        assertEquals(true, value("boolean", DataTypes.BOOLEAN(), "true"));
        assertEquals(false, value("boolean", DataTypes.BOOLEAN(), "false"));
        assertEquals("expected true or false, got 1", refusal("boolean", DataTypes.BOOLEAN(), "1"));
        assertEquals("expected true or false, got 'true'", refusal("boolean", DataTypes.BOOLEAN(), "\"true\""));
    }

    @Test
    void everyByteIsCarried() {
        byte[] all = new byte[256];
        for (int index = 0; index < all.length; index++) {
            all[index] = (byte) index;
        }
        for (int length = 0; length <= all.length; length++) {
            byte[] bytes = Arrays.copyOfRange(all, all.length - length, all.length);
            assertArrayEquals(bytes, (byte[]) value("bytes", DataTypes.BYTES(), base64(bytes)));
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"A", "AA", "AAA", "AA=A", "=AAA", "====", "A===", "AA =", "AA-_", "AAé=", "AB==", "AAB=", "AAAA=", "AA==AAAA", "AAAA\\n"})
    void whatIsNotBase64IsRefused(String text) {
        String shown = text.replace("\\n", "?");
        assertEquals("expected base64, got '" + shown + "'", refusal("bytes", DataTypes.BYTES(), '"' + text + '"'));
    }

    @Test
    void bitsHaveTheirLength() {
        byte[] ones = new byte[8];
        Arrays.fill(ones, (byte) -1);
        assertArrayEquals(ones, (byte[]) value("bits:8", DataTypes.BYTES(), "\"//////////8=\""));
        assertArrayEquals(new byte[] {5, 1}, (byte[]) value("bits:2", DataTypes.BYTES(), "\"BQE=\""));
        assertEquals("expected 8 bytes, got 2: 'BQE='", refusal("bits:8", DataTypes.BYTES(), "\"BQE=\""));
        assertEquals("expected a string of base64, got true", refusal("bits:1", DataTypes.BYTES(), "true"));
    }

    @Test
    void geometriesAreMySqlsOwn() {
        byte[] point = new byte[21];
        point[0] = 1;
        point[1] = 1;
        point[20] = 0x40;
        String wkb = base64(point);
        assertArrayEquals(geometry(0, point), geometry("{\"wkb\": %s, \"srid\": null}".formatted(wkb)));
        assertArrayEquals(geometry(0, point), geometry("{\"wkb\": %s}".formatted(wkb)));
        assertArrayEquals(geometry(4326, point), geometry("{\"srid\": 4326, \"wkb\": %s}".formatted(wkb)));
        assertArrayEquals(
                geometry(0, point), geometry("{\"x\": 1.5, \"y\": -2, \"wkb\": %s, \"srid\": null}".formatted(wkb)));
        assertArrayEquals(geometry(-1, point), geometry("{\"srid\": 4294967295, \"wkb\": %s}".formatted(wkb)));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "`{\"srid\": 1}`|a geometry without wkb",
                "`{}`|a geometry without wkb",
                "`{\"wkb\": null, \"srid\": 1}`|expected a string of base64, got null",
                "`{\"wkb\": \"A\"}`|expected base64, got 'A'",
                "`{\"wkb\": \"AAAA\", \"srid\": -1}`|-1 is outside the range of an SRID",
                "`{\"wkb\": \"AAAA\", \"srid\": 4294967296}`|4294967296 is outside the range of an SRID",
                "`{\"wkb\": \"AAAA\", \"srid\": \"4326\"}`|expected an integer, got '4326'",
                "`{\"wkb\": \"AAAA\", \"wkb\": \"AAAA\"}`|field wkb of a geometry is unknown or there twice",
                "`{\"wkb\": \"AAAA\", \"srid\": null, \"srid\": 1}`|field srid of a geometry is unknown or there twice",
                "`{\"wkb\": \"AAAA\", \"x\": 1, \"x\": 1}`|field x of a geometry is unknown or there twice",
                "`{\"wkb\": \"AAAA\", \"crs\": {\"a\": [1]}}`|field crs of a geometry is unknown or there twice",
                "`\"AAAA\"`|expected an object of wkb and srid, got 'AAAA'",
            })
    void otherGeometriesAreRefused(String json, String why) {
        assertEquals(why, refusal("geometry", DataTypes.BYTES(), json));
    }

    private static byte[] geometry(String json) {
        return (byte[]) value("geometry", DataTypes.BYTES(), json);
    }

    private static byte[] geometry(int srid, byte[] wkb) {
        byte[] bytes = new byte[4 + wkb.length];
        for (int index = 0; index < 4; index++) {
            bytes[index] = (byte) (srid >> 8 * index);
        }
        System.arraycopy(wkb, 0, bytes, 4, wkb.length);
        return bytes;
    }

    private static String base64(byte[] bytes) {
        return '"' + Base64.getEncoder().encodeToString(bytes) + '"';
    }
}
