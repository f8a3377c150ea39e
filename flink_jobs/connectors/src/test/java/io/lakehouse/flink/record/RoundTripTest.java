package io.lakehouse.flink.record;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.TextNode;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.GenericArrayData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.apache.flink.table.types.DataType;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;

/** Random rows of every kind, written as Debezium writes them, come back as they were. */
class RoundTripTest {
    private static final int ROWS = 500;
    private static final long FIRST_DAY = LocalDate.of(1, 1, 1).toEpochDay();
    private static final long LAST_DAY = LocalDate.of(9999, 12, 31).toEpochDay();

    /** A value in both forms. */
    private record Sample(String json, Object value) {}

    /** What makes random values of one kind. */
    private interface Source {
        Sample next(Random random);
    }

    private record Kind(String name, DataType type, Source source) {}

    private static final List<Kind> KINDS = List.of(
            new Kind("integer", DataTypes.INT(), random -> plain(random.nextInt())),
            new Kind("integer", DataTypes.BIGINT(), random -> plain(random.nextLong() >> random.nextInt(64))),
            new Kind("integer", DataTypes.DECIMAL(20, 0), random -> {
                BigInteger value = new BigInteger(random.nextInt(65), random);
                return new Sample(value.toString(), DecimalData.fromBigDecimal(new BigDecimal(value), 20, 0));
            }),
            new Kind("boolean_integer", DataTypes.INT(), random -> {
                int value = random.nextInt(2);
                return new Sample(random.nextBoolean() ? "" + value : "" + (value == 1), value);
            }),
            new Kind("decimal", DataTypes.DECIMAL(10, 2), random -> decimal(random, 10, 2)),
            new Kind("decimal", DataTypes.DECIMAL(18, 18), random -> decimal(random, 18, 18)),
            new Kind("decimal", DataTypes.DECIMAL(38, 20), random -> decimal(random, 38, 20)),
            new Kind("decimal_text", DataTypes.STRING(), random -> text(digits(random, 65, 30).toPlainString())),
            new Kind("float", DataTypes.FLOAT(), random -> {
                float value = anyFloat(random);
                return new Sample(random.nextBoolean() ? "" + value : "" + (double) value, value);
            }),
            new Kind("double", DataTypes.DOUBLE(), random -> {
                double value;
                do {
                    value = Double.longBitsToDouble(random.nextLong());
                } while (!Double.isFinite(value));
                return plain(value);
            }),
            new Kind("boolean", DataTypes.BOOLEAN(), random -> plain(random.nextBoolean())),
            new Kind("bits:8", DataTypes.BYTES(), random -> base64(bytes(random, 8))),
            new Kind("bytes", DataTypes.BYTES(), random -> base64(bytes(random, random.nextInt(50)))),
            new Kind("date", DataTypes.DATE(), random -> {
                LocalDate value = day(random);
                return new Sample("\"%sZ\"".formatted(value), (int) value.toEpochDay());
            }),
            new Kind("timestamp", DataTypes.TIMESTAMP(6), random -> {
                long micros = random.nextLong(86_400_000_000L) / (random.nextBoolean() ? 1 : 1_000_000);
                LocalDateTime value = day(random).atStartOfDay().plusNanos(micros * 1_000);
                return new Sample(
                        "\"%sZ\"".formatted(DateTimeFormatter.ISO_LOCAL_DATE_TIME.format(value)),
                        TimestampData.fromLocalDateTime(value));
            }),
            new Kind("time", DataTypes.BIGINT(), random -> {
                long value = random.nextLong(2 * 3_020_399_000_000L + 1) - 3_020_399_000_000L;
                long seconds = Math.abs(value) / 1_000_000;
                return new Sample(
                        "\"%s%02d:%02d:%02d.%06d\"".formatted(
                                value < 0 ? "-" : "",
                                seconds / 3600,
                                seconds / 60 % 60,
                                seconds % 60,
                                Math.abs(value) % 1_000_000),
                        value);
            }),
            new Kind("date_text", DataTypes.STRING(), random ->
                    text("%04d-%02d-%02d".formatted(random.nextInt(10_000), random.nextInt(13), random.nextInt(32)))),
            new Kind("geometry", DataTypes.BYTES(), random -> {
                byte[] wkb = bytes(random, 21);
                byte[] all = new byte[25];
                System.arraycopy(wkb, 0, all, 4, 21);
                int srid = random.nextInt(1 << 16);
                all[0] = (byte) srid;
                all[1] = (byte) (srid >> 8);
                return new Sample("{\"wkb\":%s,\"srid\":%s}".formatted(base64(wkb).json(), srid == 0 ? null : srid), all);
            }),
            new Kind("vector", DataTypes.ARRAY(DataTypes.FLOAT()), random -> {
                float[] value = new float[random.nextInt(40)];
                List<String> elements = new ArrayList<>();
                for (int index = 0; index < value.length; index++) {
                    value[index] = anyFloat(random);
                    elements.add("" + value[index]);
                }
                return new Sample(elements.toString(), new GenericArrayData(value));
            }),
            new Kind("text", DataTypes.STRING(), random -> {
                StringBuilder value = new StringBuilder();
                for (int left = random.nextInt(40); left > 0; left--) {
                    int point = random.nextInt(1 << (7 + random.nextInt(14)));
                    boolean half = point >= 0xD800 && point <= 0xDFFF;
                    value.appendCodePoint(half || point > Character.MAX_CODE_POINT ? 'x' : point);
                }
                return text(value.toString());
            }));

    private final RecordTable table = RecordTable.of(
            KINDS.stream().flatMap(kind -> List.of(kind.name(), kind.type()).stream()).toArray());

    @RepeatedTest(4)
    void rowsComeBack(RepetitionInfo repetition) {
        Random random = new Random(repetition.getCurrentRepetition());
        for (int round = 0; round < ROWS; round++) {
            List<Object> expected = new ArrayList<>();
            List<String> fields = new ArrayList<>(List.of("\"__op\":\"u\"", "\"extra\":{\"a\":[1,2]}"));
            for (int index = 0; index < KINDS.size(); index++) {
                Sample sample = random.nextInt(10) == 0
                        ? new Sample("null", null)
                        : KINDS.get(index).source().next(random);
                expected.add(sample.value());
                if (sample.value() != null || random.nextBoolean()) {
                    fields.add("\"%c\":%s".formatted('a' + index, sample.json()));
                }
            }
            Collections.shuffle(fields, random);
            String json = "{" + String.join(",", fields) + "}";
            GenericRowData row = table.row(json);
            for (int index = 0; index < KINDS.size(); index++) {
                if (expected.get(index) instanceof byte[] bytes) {
                    assertArrayEquals(bytes, (byte[]) row.getField(index), json);
                } else {
                    assertEquals(expected.get(index), row.getField(index), json);
                }
            }
        }
    }

    @RepeatedTest(4)
    void anyDamageIsRefusedOrChangesNothingElse(RepetitionInfo repetition) {
        Random random = new Random(100 + repetition.getCurrentRepetition());
        RecordTable two = RecordTable.of("integer", DataTypes.INT(), "text", DataTypes.STRING());
        byte[] whole = "{\"a\":12345,\"b\":\"grün 😀\",\"__op\":\"c\"}".getBytes(StandardCharsets.UTF_8);
        for (int round = 0; round < ROWS * 10; round++) {
            byte[] damaged = whole.clone();
            damaged[random.nextInt(whole.length)] = (byte) random.nextInt(256);
            GenericRowData row = two.deserialize(damaged);
            boolean refused = two.field(row, "__error") != null;
            assertEquals(refused, two.field(row, "__raw") != null);
            if (refused) {
                assertEquals(2, IntStream.range(0, row.getArity()).filter(index -> row.getField(index) != null).count());
            }
        }
        for (int length = 0; length < whole.length; length++) {
            two.error(Arrays.copyOf(whole, length));
        }
    }

    private static Sample plain(Object value) {
        return new Sample(value.toString(), value);
    }

    private static Sample text(String value) {
        return new Sample(TextNode.valueOf(value).toString(), StringData.fromString(value));
    }

    private static Sample base64(byte[] value) {
        return new Sample('"' + Base64.getEncoder().encodeToString(value) + '"', value);
    }

    private static byte[] bytes(Random random, int length) {
        byte[] bytes = new byte[length];
        random.nextBytes(bytes);
        return bytes;
    }

    private static LocalDate day(Random random) {
        return LocalDate.ofEpochDay(FIRST_DAY + random.nextLong(LAST_DAY - FIRST_DAY + 1));
    }

    private static float anyFloat(Random random) {
        float value;
        do {
            value = Float.intBitsToFloat(random.nextInt());
        } while (!Float.isFinite(value));
        return value;
    }

    private static Sample decimal(Random random, int precision, int scale) {
        BigDecimal value = digits(random, precision, scale);
        return new Sample(
                '"' + value.toPlainString() + '"', DecimalData.fromBigDecimal(value, precision, scale));
    }

    private static BigDecimal digits(Random random, int precision, int scale) {
        StringBuilder digits = new StringBuilder(random.nextBoolean() ? "-0" : "0");
        for (int left = random.nextInt(precision + 1); left > 0; left--) {
            digits.append(random.nextInt(10));
        }
        return new BigDecimal(new BigInteger(digits.toString()), scale);
    }
}
