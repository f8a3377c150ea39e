package io.lakehouse.flink.couchdb;

import io.lakehouse.flink.view.FloatVectors;
import io.lakehouse.flink.view.ValueConverter;
import io.lakehouse.flink.view.ViewColumn;
import java.time.LocalDate;
import java.time.LocalTime;
import java.time.format.DateTimeFormatter;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ArrayNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.JsonNodeFactory;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.TimestampData;

/**
 * Flink's values as JSON that every CouchDB client reads back exactly.
 *
 * <p>Integers are numbers as long as a double holds them (JavaScript reads numbers so), else strings; so is the negative
 * zero; decimals are strings; timestamps are ISO-8601 in UTC with microseconds; dates are ISO; bytes are base64; vectors are arrays of
 * numbers.
 */
final class JsonValues {
    private static final long MAX_EXACT_INTEGER = 1L << 53;
    private static final int NANOS_PER_MICRO = 1_000;
    private static final long NANOS_PER_MILLI = 1_000_000;
    private static final JsonNodeFactory JSON = JsonNodeFactory.instance;
    private static final DateTimeFormatter TIMESTAMP = DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSSSSS'Z'");

    private JsonValues() {}

    /**
     * The converter of a column.
     *
     * @throws ValidationException if the type has no JSON form here
     */
    static ValueConverter<JsonNode> converter(ViewColumn column) {
        return switch (column.type().getTypeRoot()) {
            case CHAR, VARCHAR -> value -> JSON.textNode(value.toString());
            case BOOLEAN -> value -> JSON.booleanNode((Boolean) value);
            case TINYINT, SMALLINT, INTEGER, BIGINT -> value -> integer(((Number) value).longValue());
            case FLOAT -> value -> real(finite(column, (Float) value), JSON.numberNode((float) (Float) value));
            case DOUBLE -> value -> real(finite(column, (Double) value), JSON.numberNode((double) (Double) value));
            case DECIMAL -> value -> JSON.textNode(((DecimalData) value).toBigDecimal().toPlainString());
            case DATE -> value -> JSON.textNode(LocalDate.ofEpochDay((Integer) value).toString());
            case TIME_WITHOUT_TIME_ZONE -> value -> JSON.textNode(
                    LocalTime.ofNanoOfDay((Integer) value * NANOS_PER_MILLI).format(DateTimeFormatter.ISO_LOCAL_TIME));
            case TIMESTAMP_WITHOUT_TIME_ZONE, TIMESTAMP_WITH_LOCAL_TIME_ZONE -> value ->
                    timestamp(column, (TimestampData) value);
            case BINARY, VARBINARY -> value -> JSON.textNode(JSON.binaryNode((byte[]) value).asText());
            case ARRAY -> floats(column);
            default -> throw unfit(column);
        };
    }

    private static ValidationException unfit(ViewColumn column) {
        return new ValidationException("column %s: the couchdb sink cannot carry %s"
                .formatted(column.name(), column.type().asSummaryString()));
    }

    private static ValueConverter<JsonNode> floats(ViewColumn column) {
        if (!FloatVectors.fits(column.type())) {
            throw unfit(column);
        }
        return value -> {
            ArrayNode array = JSON.arrayNode();
            for (Float element : FloatVectors.elements(column.name(), (ArrayData) value)) {
                array.add(real(finite(column, element), JSON.numberNode((float) element)));
            }
            return array;
        };
    }

    /** A number if every client reads it exactly, else its digits as a string. */
    static JsonNode integer(long value) {
        return Math.abs(value) <= MAX_EXACT_INTEGER && value != Long.MIN_VALUE
                ? JSON.numberNode(value)
                : JSON.textNode(Long.toString(value));
    }

    /** The number, but a text for the negative zero, of which JavaScript writes only the digit. */
    private static JsonNode real(Number value, JsonNode number) {
        return value.doubleValue() == 0 && 1 / value.doubleValue() < 0 ? JSON.textNode("-0.0") : number;
    }

    private static JsonNode timestamp(ViewColumn column, TimestampData value) {
        if (value.getNanoOfMillisecond() % NANOS_PER_MICRO != 0) {
            throw new IllegalArgumentException("column %s: %s is finer than a microsecond".formatted(column.name(), value));
        }
        return JSON.textNode(value.toLocalDateTime().format(TIMESTAMP));
    }

    private static <T extends Number> T finite(ViewColumn column, T value) {
        if (!Double.isFinite(value.doubleValue())) {
            throw new IllegalArgumentException("column %s: JSON has no number for %s".formatted(column.name(), value));
        }
        return value;
    }
}
