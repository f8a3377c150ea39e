package io.lakehouse.flink.record;

import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.types.logical.ArrayType;
import org.apache.flink.table.types.logical.BigIntType;
import org.apache.flink.table.types.logical.BooleanType;
import org.apache.flink.table.types.logical.DateType;
import org.apache.flink.table.types.logical.DecimalType;
import org.apache.flink.table.types.logical.DoubleType;
import org.apache.flink.table.types.logical.FloatType;
import org.apache.flink.table.types.logical.IntType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.TimestampType;
import org.apache.flink.table.types.logical.VarBinaryType;
import org.apache.flink.table.types.logical.VarCharType;

/**
 * How a record writes the values of a column, and the column's type that carries all of them exactly.
 *
 * <table>
 * <caption>Kinds</caption>
 * <tr><th>kind</th><th>in the record</th><th>type of the column</th></tr>
 * <tr><td>integer</td><td>number without fraction</td><td>INT, BIGINT, DECIMAL(20, 0)</td></tr>
 * <tr><td>boolean_integer</td><td>number, or true (1) or false (0)</td><td>INT</td></tr>
 * <tr><td>decimal</td><td>string of digits</td><td>DECIMAL(p, s)</td></tr>
 * <tr><td>decimal_text</td><td>string of digits</td><td>STRING</td></tr>
 * <tr><td>float</td><td>number: a float exactly, or its shortest text</td><td>FLOAT</td></tr>
 * <tr><td>double</td><td>number</td><td>DOUBLE</td></tr>
 * <tr><td>boolean</td><td>true or false</td><td>BOOLEAN</td></tr>
 * <tr><td>bits:N</td><td>base64 of N bytes</td><td>BYTES</td></tr>
 * <tr><td>bytes</td><td>base64</td><td>BYTES</td></tr>
 * <tr><td>date</td><td>YYYY-MM-DDZ</td><td>DATE</td></tr>
 * <tr><td>timestamp</td><td>YYYY-MM-DDTHH:MM:SS[.ffffff]Z</td><td>TIMESTAMP(6)</td></tr>
 * <tr><td>time</td><td>[-]HH:MM:SS.ffffff, to 838 hours</td><td>BIGINT, microseconds</td></tr>
 * <tr><td>date_text</td><td>YYYY-MM-DD, any part may be zero</td><td>STRING</td></tr>
 * <tr><td>timestamp_text</td><td>YYYY-MM-DD HH:MM:SS[.ffffff], likewise</td><td>STRING</td></tr>
 * <tr><td>geometry</td><td>object of wkb (base64) and srid (number or null)</td><td>BYTES: SRID in four bytes, the lowest
 * first, then WKB</td></tr>
 * <tr><td>vector</td><td>array of numbers, each as for float</td><td>ARRAY&lt;FLOAT&gt;</td></tr>
 * <tr><td>text, json</td><td>string</td><td>STRING</td></tr>
 * </table>
 */
final class WireKind {
    private static final Pattern BITS = Pattern.compile("bits:([1-8])");

    private static final LogicalType INT = new IntType();
    private static final LogicalType BIGINT = new BigIntType();
    private static final LogicalType UNSIGNED = new DecimalType(20, 0);
    private static final LogicalType FLOAT = new FloatType();
    private static final LogicalType STRING = new VarCharType(VarCharType.MAX_LENGTH);
    private static final LogicalType BYTES = new VarBinaryType(VarBinaryType.MAX_LENGTH);
    private static final LogicalType TIMESTAMP = new TimestampType(6);

    private final String column;
    private final String kind;
    private final LogicalType type;

    private WireKind(String column, String kind, LogicalType type) {
        this.column = column;
        this.kind = kind;
        this.type = type.copy(true);
    }

    /**
     * The decoder of a column.
     *
     * @throws ValidationException if there is no such kind, or the column's type is not one of it
     */
    static FieldDecoder decoder(String column, String kind, LogicalType type) {
        return new WireKind(column, kind, type).decoder();
    }

    private FieldDecoder decoder() {
        Matcher bits = BITS.matcher(kind);
        if (bits.matches()) {
            return only(BYTES, Binaries.bits(Integer.parseInt(bits.group(1))));
        }
        return switch (kind) {
            case "integer" -> integer();
            case "boolean_integer" -> only(INT, Numbers::booleanInteger);
            case "decimal" -> decimal();
            case "decimal_text" -> only(STRING, Texts::decimal);
            case "float" -> only(FLOAT, Numbers::float32);
            case "double" -> only(new DoubleType(), Numbers::float64);
            case "boolean" -> only(new BooleanType(), Texts::bool);
            case "bytes" -> only(BYTES, Binaries::bytes);
            case "date" -> only(new DateType(), Times::date);
            case "timestamp" -> only(TIMESTAMP, Times::timestamp);
            case "time" -> only(BIGINT, Times::time);
            case "date_text" -> only(STRING, Times::dateText);
            case "timestamp_text" -> only(STRING, Times::timestampText);
            case "geometry" -> only(BYTES, Binaries::geometry);
            case "vector" -> vector();
            case "text", "json" -> only(STRING, Texts::string);
            default -> throw new ValidationException(
                    "column %s: '%s' in '%s' is no kind of value; write one of integer, boolean_integer, decimal, decimal_text, float, double, boolean, bits:N (N bytes, 1 to 8), bytes, date, timestamp, time, date_text, timestamp_text, geometry, vector, text, json"
                            .formatted(column, kind, RecordFormatFactory.COLUMNS_OPTION));
        };
    }

    private FieldDecoder integer() {
        if (type.equals(INT)) {
            return Numbers::integer32;
        }
        if (type.equals(BIGINT)) {
            return Numbers::integer64;
        }
        if (type.equals(UNSIGNED)) {
            return Numbers::unsigned64;
        }
        throw unfit(List.of(INT, BIGINT, UNSIGNED).toString());
    }

    private FieldDecoder decimal() {
        if (type instanceof DecimalType decimal) {
            return Numbers.decimal(decimal.getPrecision(), decimal.getScale());
        }
        throw unfit("DECIMAL(p, s)");
    }

    private FieldDecoder vector() {
        if (type instanceof ArrayType array && array.getElementType().copy(true).equals(FLOAT)) {
            return Numbers::vector;
        }
        throw unfit("ARRAY<FLOAT>");
    }

    private FieldDecoder only(LogicalType wanted, FieldDecoder decoder) {
        if (type.equals(wanted)) {
            return decoder;
        }
        throw unfit(wanted.asSummaryString());
    }

    private ValidationException unfit(String wanted) {
        return new ValidationException(
                "column %s is %s, but a value of kind '%s' is carried exactly by %s; declare the column so, or correct its kind in '%s'"
                        .formatted(column, type.asSummaryString(), kind, wanted, RecordFormatFactory.COLUMNS_OPTION));
    }
}
