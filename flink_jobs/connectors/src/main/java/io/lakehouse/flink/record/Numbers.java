package io.lakehouse.flink.record;

import java.io.IOException;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.MathContext;
import java.math.RoundingMode;
import java.util.Arrays;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.exc.InputCoercionException;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.GenericArrayData;

/** Numbers of a record, read from their digits; what would have to be rounded is refused. */
final class Numbers {
    private static final BigInteger MIN_BIGINT = BigInteger.valueOf(Long.MIN_VALUE);
    private static final BigInteger MAX_UNSIGNED = BigInteger.TWO.pow(Long.SIZE).subtract(BigInteger.ONE);
    private static final int MAX_UNSIGNED_PRECISION = 20;
    /** The longest text of any 64-bit integer: 20 digits, or a sign and 19. */
    private static final int MAX_INTEGER_TEXT = 20;
    /** The longest text of any double, in plain digits down to the last bit of the smallest one. */
    private static final int MAX_DOUBLE_TEXT = 1100;
    /** Decimals of so many digits are told apart by every normal float or double. */
    private static final int FLOAT_DIGITS = 6;

    private static final int DOUBLE_DIGITS = 15;
    /** So many digits tell every float or double. */
    private static final int MAX_FLOAT_DIGITS = 9;

    private static final int MAX_DOUBLE_DIGITS = 17;
    /** Decimals of so many digits are kept in a long by Flink. */
    private static final int LONG_DIGITS = 18;

    private Numbers() {}

    /** An INT. */
    static Object integer32(JsonParser parser) throws IOException, WrongValue {
        long value = longValue(parser, "INT");
        if (value != (int) value) {
            throw outside(parser, "INT");
        }
        return (int) value;
    }

    /** A BIGINT. */
    static Object integer64(JsonParser parser) throws IOException, WrongValue {
        return longValue(parser, "BIGINT");
    }

    /** A DECIMAL(20, 0) that is any of MySQL's integers, signed or not. */
    static Object unsigned64(JsonParser parser) throws IOException, WrongValue {
        checkInteger(parser, "BIGINT UNSIGNED");
        BigInteger value = parser.getBigIntegerValue();
        if (value.compareTo(MIN_BIGINT) < 0 || value.compareTo(MAX_UNSIGNED) > 0) {
            throw outside(parser, "BIGINT UNSIGNED");
        }
        return DecimalData.fromBigDecimal(new BigDecimal(value), MAX_UNSIGNED_PRECISION, 0);
    }

    /** An INT that may be written as true (1) or false (0). */
    static Object booleanInteger(JsonParser parser) throws IOException, WrongValue {
        return switch (parser.currentToken()) {
            case VALUE_TRUE -> 1;
            case VALUE_FALSE -> 0;
            default -> integer32(parser);
        };
    }

    /** A DECIMAL(precision, scale) from a string of digits. */
    static FieldDecoder decimal(int precision, int scale) {
        return parser -> {
            String text = Texts.text(parser);
            int point = checkDecimal(text);
            int first = text.charAt(0) == '-' ? 1 : 0;
            while (first < point && text.charAt(first) == '0') {
                first++;
            }
            int end = scale == 0 ? point : Math.min(text.length(), point + 1 + scale);
            for (int at = end; at < text.length(); at++) {
                if (text.charAt(at) != '0' && text.charAt(at) != '.') {
                    throw outside(text, precision, scale);
                }
            }
            if (point - first > precision - scale) {
                throw outside(text, precision, scale);
            }
            if (precision > LONG_DIGITS) {
                return DecimalData.fromBigDecimal(new BigDecimal(text.substring(0, end)), precision, scale);
            }
            long unscaled = 0;
            for (int at = first; at < point; at++) {
                unscaled = unscaled * 10 + (text.charAt(at) - '0');
            }
            for (int at = point + 1; at <= point + scale; at++) {
                unscaled = unscaled * 10 + (at < end ? text.charAt(at) - '0' : 0);
            }
            return DecimalData.fromUnscaledLong(text.charAt(0) == '-' ? -unscaled : unscaled, precision, scale);
        };
    }

    /** Refuses a text that is not an optional minus, digits, and perhaps a point and digits; tells where the point is. */
    static int checkDecimal(String text) throws WrongValue {
        int first = text.startsWith("-") ? 1 : 0;
        int point = text.indexOf('.');
        boolean fraction = point >= 0;
        point = fraction ? point : text.length();
        if (!Texts.digits(text, first, point) || fraction && !Texts.digits(text, point + 1, text.length())) {
            throw new WrongValue("expected a decimal number in digits, got '%s'".formatted(Reasons.value(text)));
        }
        return point;
    }

    /** A DOUBLE. */
    static Object float64(JsonParser parser) throws IOException, WrongValue {
        return doubleValue(parser);
    }

    /** A FLOAT: a double that is one exactly, or the number that a float's shortest text says. */
    static Object float32(JsonParser parser) throws IOException, WrongValue {
        return floatValue(parser);
    }

    /** An ARRAY&lt;FLOAT&gt;, no element of which is null. */
    static Object vector(JsonParser parser) throws IOException, WrongValue {
        if (!parser.hasToken(JsonToken.START_ARRAY)) {
            throw Reasons.expected("an array of numbers", parser);
        }
        float[] elements = new float[16];
        int count = 0;
        while (parser.nextToken() != JsonToken.END_ARRAY) {
            if (count == elements.length) {
                elements = Arrays.copyOf(elements, 2 * count);
            }
            try {
                elements[count] = floatValue(parser);
            } catch (WrongValue wrong) {
                throw new WrongValue("element %d: %s".formatted(count, wrong.getMessage()));
            }
            count++;
        }
        return new GenericArrayData(Arrays.copyOf(elements, count));
    }

    /** An integer of 64 bits; {@code type} is what is said of one that is longer. */
    static long longValue(JsonParser parser, String type) throws IOException, WrongValue {
        checkInteger(parser, type);
        try {
            return parser.getLongValue();
        } catch (InputCoercionException tooGreat) {
            throw outside(parser, type);
        }
    }

    private static void checkInteger(JsonParser parser, String type) throws IOException, WrongValue {
        if (!parser.hasToken(JsonToken.VALUE_NUMBER_INT)) {
            throw Reasons.expected("an integer", parser);
        }
        // Reading the digits of an endless number takes the square of their count.
        if (parser.getTextLength() > MAX_INTEGER_TEXT) {
            throw outside(parser, type);
        }
    }

    private static float floatValue(JsonParser parser) throws IOException, WrongValue {
        double told = doubleValue(parser);
        String text = parser.getText();
        float value = Float.parseFloat(text);
        if (Float.isInfinite(value)) {
            throw outside(parser, "FLOAT");
        }
        if (value == told || significantDigits(text) <= FLOAT_DIGITS && Math.abs(value) >= Float.MIN_NORMAL) {
            return value;
        }
        // What Java prints is not always the shortest before version 19, and a record may come from either.
        if (Double.parseDouble(Float.toString(value)) == told || shortest(value) == told) {
            return value;
        }
        throw new WrongValue("%s is not a FLOAT; the nearest one is %s".formatted(Reasons.value(text), value));
    }

    private static double shortest(float value) {
        BigDecimal exact = new BigDecimal(value);
        BigDecimal rounded = exact;
        for (int digits = 1; digits <= MAX_FLOAT_DIGITS; digits++) {
            rounded = exact.round(new MathContext(digits, RoundingMode.HALF_EVEN));
            if (rounded.floatValue() == value) {
                break;
            }
        }
        return rounded.doubleValue();
    }

    private static double doubleValue(JsonParser parser) throws IOException, WrongValue {
        boolean whole = parser.hasToken(JsonToken.VALUE_NUMBER_INT);
        if (!whole && !parser.hasToken(JsonToken.VALUE_NUMBER_FLOAT)) {
            throw Reasons.expected("a number", parser);
        }
        if (parser.getTextLength() > MAX_DOUBLE_TEXT) {
            throw new WrongValue("%s has more digits than any DOUBLE".formatted(Reasons.shown(parser)));
        }
        String text = parser.getText();
        double value = Double.parseDouble(text);
        if (Double.isInfinite(value)) {
            throw outside(parser, "DOUBLE");
        }
        int digits = significantDigits(text);
        if (digits > 0) {
            int enough = whole ? DOUBLE_DIGITS : MAX_DOUBLE_DIGITS;
            boolean told = Math.abs(value) >= Double.MIN_NORMAL && digits <= enough;
            if (!told && (value == 0 || !tells(text, value))) {
                throw new WrongValue("%s is not a DOUBLE; the nearest one is %s".formatted(Reasons.value(text), value));
            }
        }
        return value;
    }

    /** Whether a text gives a double's own digits, all of them or rounded to as many as it has. */
    private static boolean tells(String text, double value) {
        BigDecimal told = new BigDecimal(text).stripTrailingZeros();
        BigDecimal own = new BigDecimal(value).round(new MathContext(told.precision(), RoundingMode.HALF_EVEN));
        return own.compareTo(told) == 0 || new BigDecimal(Double.toString(value)).compareTo(told) == 0;
    }

    /** Digits of a number without leading zeros and exponent; none if the number is zero. */
    private static int significantDigits(String text) {
        int count = 0;
        for (int at = 0; at < text.length(); at++) {
            char character = text.charAt(at);
            if (character == 'e' || character == 'E') {
                break;
            }
            if (character >= (count == 0 ? '1' : '0') && character <= '9') {
                count++;
            }
        }
        return count;
    }

    private static WrongValue outside(JsonParser parser, String type) throws IOException {
        return new WrongValue("%s is outside the range of %s".formatted(Reasons.shown(parser), type));
    }

    private static WrongValue outside(String text, int precision, int scale) {
        return new WrongValue("%s does not fit DECIMAL(%d, %d)".formatted(Reasons.value(text), precision, scale));
    }
}
