package io.lakehouse.flink.record;

import static io.lakehouse.flink.record.RecordTable.refusal;
import static io.lakehouse.flink.record.RecordTable.value;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.math.BigDecimal;
import java.util.Random;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.types.DataType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class NumbersTest {
    private static final DataType UNSIGNED = DataTypes.DECIMAL(20, 0);
    private static final DataType VECTOR = DataTypes.ARRAY(DataTypes.FLOAT());

    @Test
    void integersToTheirEnds() {
        assertEquals(Integer.MAX_VALUE, value("integer", DataTypes.INT(), "2147483647"));
        assertEquals(Integer.MIN_VALUE, value("integer", DataTypes.INT(), "-2147483648"));
        assertEquals(0, value("integer", DataTypes.INT(), "-0"));
        assertEquals(Long.MAX_VALUE, value("integer", DataTypes.BIGINT(), "9223372036854775807"));
        assertEquals(Long.MIN_VALUE, value("integer", DataTypes.BIGINT(), "-9223372036854775808"));
        assertEquals(decimal("18446744073709551615", 20, 0), value("integer", UNSIGNED, "18446744073709551615"));
        assertEquals(decimal("0", 20, 0), value("integer", UNSIGNED, "0"));
        assertEquals(decimal("-9223372036854775808", 20, 0), value("integer", UNSIGNED, "-9223372036854775808"));
    }

    @Test
    void integersBeyondTheirEnds() {
        assertEquals(
                "2147483648 is outside the range of INT", refusal("integer", DataTypes.INT(), "2147483648"));
        assertEquals(
                "-2147483649 is outside the range of INT", refusal("integer", DataTypes.INT(), "-2147483649"));
        assertEquals(
                "9223372036854775808 is outside the range of BIGINT",
                refusal("integer", DataTypes.BIGINT(), "9223372036854775808"));
        assertEquals(
                "18446744073709551616 is outside the range of BIGINT UNSIGNED",
                refusal("integer", UNSIGNED, "18446744073709551616"));
        assertEquals(
                "-9223372036854775809 is outside the range of BIGINT UNSIGNED",
                refusal("integer", UNSIGNED, "-9223372036854775809"));
        String endless = refusal("integer", DataTypes.BIGINT(), "9".repeat(1_000_000));
        assertEquals("9".repeat(57) + "... is outside the range of BIGINT", endless);
    }

    @ParameterizedTest
    @ValueSource(strings = {"1.0", "1e3", "1E0", "-0.0", "\"1\"", "\"\"", "true", "{}", "[1]"})
    void onlyIntegersAreIntegers(String json) {
        assertTrue(refusal("integer", DataTypes.INT(), json).startsWith("expected an integer, got "));
        assertTrue(refusal("integer", UNSIGNED, json).startsWith("expected an integer, got "));
    }

    @Test
    void booleansMayBeIntegers() {
        assertEquals(1, value("boolean_integer", DataTypes.INT(), "true"));
        assertEquals(0, value("boolean_integer", DataTypes.INT(), "false"));
        assertEquals(-128, value("boolean_integer", DataTypes.INT(), "-128"));
        assertEquals("expected an integer, got 'true'", refusal("boolean_integer", DataTypes.INT(), "\"true\""));
        assertEquals("expected an integer, got 1.5", refusal("boolean_integer", DataTypes.INT(), "1.5"));
    }

    @ParameterizedTest
    @CsvSource({
        "5,2,199.90,199.90",
        "5,2,-999.99,-999.99",
        "5,2,1,1.00",
        "5,2,1.5,1.50",
        "5,2,1.5000,1.50",
        "5,2,0001.5,1.50",
        "5,2,-0.00,0.00",
        "5,0,12345,12345",
        "5,0,12345.000,12345",
        "2,2,-0.99,-0.99",
        "18,18,0.999999999999999999,0.999999999999999999",
        "18,0,-999999999999999999,-999999999999999999",
        "19,1,-999999999999999999.9,-999999999999999999.9",
        "38,20,999999999999999999.99999999999999999999,999999999999999999.99999999999999999999",
        "38,20,-999999999999999999.99999999999999999999,-999999999999999999.99999999999999999999",
        "38,20,0.00000000000000000001,0.00000000000000000001",
        "38,20,5,5.00000000000000000000",
        "38,0,99999999999999999999999999999999999999,99999999999999999999999999999999999999",
        "38,0,7.0,7",
        "38,38,-0.99999999999999999999999999999999999999,-0.99999999999999999999999999999999999999",
    })
    void decimalsAreExact(int precision, int scale, String text, String expected) {
        DecimalData value = (DecimalData) value("decimal", DataTypes.DECIMAL(precision, scale), '"' + text + '"');
        assertEquals(decimal(expected, precision, scale), value);
        assertEquals(expected, value.toBigDecimal().toPlainString());
    }

    @ParameterizedTest
    @CsvSource({
        "5,2,199.905",
        "5,2,1000.00",
        "5,2,-1000",
        "5,2,0.001",
        "5,0,1.5",
        "5,0,100000",
        "2,2,1.00",
        "38,20,1000000000000000000",
        "38,20,0.000000000000000000001",
        "38,38,1",
    })
    void decimalsAreNeverRounded(int precision, int scale, String text) {
        assertEquals(
                "%s does not fit DECIMAL(%d, %d)".formatted(text, precision, scale),
                refusal("decimal", DataTypes.DECIMAL(precision, scale), '"' + text + '"'));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "-", ".5", "5.", "+5", "1e3", "1,5", " 1", "1 ", "0x1", "NaN", "--1", "1.2.3", "\u0661"})
    void decimalsAreDigits(String text) {
        String said = "expected a decimal number in digits, got '%s'".formatted(text);
        assertEquals(said, refusal("decimal", DataTypes.DECIMAL(5, 2), '"' + text + '"'));
        assertEquals(said, refusal("decimal_text", DataTypes.STRING(), '"' + text + '"'));
    }

    @Test
    void decimalsAreStrings() {
        assertEquals("expected a string, got 1.50", refusal("decimal", DataTypes.DECIMAL(5, 2), "1.50"));
        String wide = "-" + "9".repeat(35) + "." + "9".repeat(30);
        assertEquals(StringData.fromString(wide), value("decimal_text", DataTypes.STRING(), '"' + wide + '"'));
    }

    @ParameterizedTest
    @CsvSource({
        "0.1,0.1",
        "-0.0,-0.0",
        "0,0.0",
        "1.50000005E10,1.5E10",
        "1.5e10,1.5E10",
        "0.10000000149011612,0.1",
        "1.4E-45,1.4E-45",
        "1.401298464324817E-45,1.4E-45",
        "1E-45,1.4E-45",
        "3E-45,2.8E-45",
        "1.1754942E-38,1.1754942E-38",
        "1.17549435E-38,1.17549435E-38",
        "1.1754944E-38,1.17549435E-38",
        "3.4028235E38,3.4028235E38",
        "-3.4028234663852886E38,-3.4028235E38",
        "16777216,16777216",
        "2E10,2E10",
    })
    void floatsByEitherText(String json, String expected) {
        assertEquals(Float.parseFloat(expected), value("float", DataTypes.FLOAT(), json));
    }

    @ParameterizedTest
    @CsvSource({
        "0.1234567891,0.1234567891 is not a FLOAT; the nearest one is 0.12345679",
        "16777217,16777217 is not a FLOAT; the nearest one is 1.6777216E7",
        "0.30000000000000004,0.30000000000000004 is not a FLOAT; the nearest one is 0.3",
        "1e-46,1e-46 is not a FLOAT; the nearest one is 0.0",
        "2.5e-45,2.5e-45 is not a FLOAT; the nearest one is 2.8E-45",
        "3.5e38,3.5e38 is outside the range of FLOAT",
        "1e400,1e400 is outside the range of DOUBLE",
        "'\"0.1\"','expected a number, got ''0.1'''",
        "true,'expected a number, got true'",
    })
    void floatsAreNotRounded(String json, String why) {
        assertEquals(why, refusal("float", DataTypes.FLOAT(), json));
    }

    @Test
    void everyFloatComesBackFromBothItsTexts() {
        RecordTable table = RecordTable.of("float", DataTypes.FLOAT());
        Random random = new Random(7);
        for (int round = 0; round < 20_000; round++) {
            float value = Float.intBitsToFloat(random.nextInt());
            if (Float.isFinite(value)) {
                assertEquals(value, table.row("{\"a\":%s,\"__op\":\"c\"}".formatted(value)).getField(0));
                assertEquals(value, table.row("{\"a\":%s,\"__op\":\"c\"}".formatted((double) value)).getField(0));
            }
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "1e308",
                "1.7976931348623157E308",
                "-1.7976931348623157E308",
                "4.9E-324",
                "5e-324",
                "2.2250738585072014E-308",
                "2.225073858507201E-308",
                "0.1",
                "-0.0",
                "0e999999999999",
                "0.30000000000000004",
                "9007199254740992",
                "18446744073709551616",
                "123456789012345680000",
                "1e+17",
                "0.3000000000000000444"
            })
    void doublesAreExact(String json) {
        assertEquals(Double.parseDouble(json), value("double", DataTypes.DOUBLE(), json));
    }

    @ParameterizedTest
    @CsvSource({
        "1e309,1e309 is outside the range of DOUBLE",
        "1e-400,1e-400 is not a DOUBLE; the nearest one is 0.0",
        "3e-324,3e-324 is not a DOUBLE; the nearest one is 4.9E-324",
        "9007199254740993,9007199254740993 is not a DOUBLE; the nearest one is 9.007199254740992E15",
        "0.30000000000000000001,0.30000000000000000001 is not a DOUBLE; the nearest one is 0.3",
        "'\"NaN\"','expected a number, got ''NaN'''",
    })
    void doublesAreNotRounded(String json, String why) {
        assertEquals(why, refusal("double", DataTypes.DOUBLE(), json));
    }

    @Test
    void endlessNumbersAreRefusedAtOnce() {
        assertTrue(refusal("double", DataTypes.DOUBLE(), "0." + "1".repeat(1_000_000))
                .endsWith(" has more digits than any DOUBLE"));
    }

    @Test
    void vectorsAreArraysOfFloats() {
        assertEquals(
                new GenericArrayData(new float[] {0.1f, -1f, Float.MAX_VALUE, Float.MIN_VALUE}),
                value("vector", VECTOR, "[0.1, -1, 3.4028235E38, 1.4E-45]"));
        assertEquals(new GenericArrayData(new float[0]), value("vector", VECTOR, "[]"));
        float[] many = new float[16_383];
        StringBuilder json = new StringBuilder();
        for (int index = 0; index < many.length; index++) {
            many[index] = index / 3f;
            json.append(index == 0 ? '[' : ',').append(many[index]);
        }
        assertEquals(new GenericArrayData(many), value("vector", VECTOR, json + "]"));
        assertEquals("element 1: expected a number, got null", refusal("vector", VECTOR, "[1, null]"));
        assertEquals("element 0: expected a number, got an array", refusal("vector", VECTOR, "[[1], 2]"));
        assertEquals("element 2: 1e39 is outside the range of FLOAT", refusal("vector", VECTOR, "[1, 2, 1e39, {}]"));
        assertEquals("expected an array of numbers, got '[1]'", refusal("vector", VECTOR, "\"[1]\""));
    }

    private static DecimalData decimal(String text, int precision, int scale) {
        return DecimalData.fromBigDecimal(new BigDecimal(text), precision, scale);
    }
}
