package io.lakehouse.flink.record;

import java.io.IOException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.table.data.StringData;

/** Strings of a record. */
final class Texts {
    private static final int MAX_EPOCH = 15;

    private Texts() {}

    /** A string as it is. */
    static Object string(JsonParser parser) throws IOException, WrongValue {
        String text = text(parser);
        for (int at = 0; at < text.length(); at++) {
            char character = text.charAt(at);
            if (!Character.isSurrogate(character)) {
                continue;
            }
            // Only an escape can bring half a character into valid UTF-8; Flink would write a question mark for it.
            if (Character.isLowSurrogate(character)
                    || at + 1 == text.length()
                    || !Character.isLowSurrogate(text.charAt(at + 1))) {
                throw new WrongValue("character %d is half of one (\\u%04x)".formatted(at, (int) character));
            }
            at++;
        }
        return StringData.fromString(text);
    }

    /** The digits of a decimal number as they are. */
    static Object decimal(JsonParser parser) throws IOException, WrongValue {
        String text = text(parser);
        Numbers.checkDecimal(text);
        return StringData.fromString(text);
    }

    /** What the change did to its row. */
    static Object operation(JsonParser parser) throws IOException, WrongValue {
        String text = text(parser);
        return switch (text) {
            case "c", "u", "d", "r", "t" -> StringData.fromString(text);
            default -> throw Reasons.expected("one of c, u, d, r", parser);
        };
    }

    /** An INT: the epoch of the source's positions, which the connector writes as a string. */
    static Object epoch(JsonParser parser) throws IOException, WrongValue {
        String text = text(parser);
        if (text.length() > 2 || !digits(text, 0, text.length()) || Integer.parseInt(text) > MAX_EPOCH) {
            throw Reasons.expected("an epoch from 0 to " + MAX_EPOCH, parser);
        }
        return Integer.parseInt(text);
    }

    /** A BOOLEAN. */
    static Object bool(JsonParser parser) throws IOException, WrongValue {
        return switch (parser.currentToken()) {
            case VALUE_TRUE -> true;
            case VALUE_FALSE -> false;
            default -> throw Reasons.expected("true or false", parser);
        };
    }

    /** A BOOLEAN that may be written as a string. */
    static Object boolText(JsonParser parser) throws IOException, WrongValue {
        if (!parser.hasToken(JsonToken.VALUE_STRING)) {
            return bool(parser);
        }
        return switch (parser.getText()) {
            case "true" -> true;
            case "false" -> false;
            default -> throw Reasons.expected("true or false", parser);
        };
    }

    /** The string at which the parser stands; anything else is refused. */
    static String text(JsonParser parser) throws IOException, WrongValue {
        if (!parser.hasToken(JsonToken.VALUE_STRING)) {
            throw Reasons.expected("a string", parser);
        }
        return parser.getText();
    }

    /** Whether this part of a text is one or more of the digits 0 to 9. */
    static boolean digits(String text, int from, int to) {
        for (int at = from; at < to; at++) {
            if (text.charAt(at) < '0' || text.charAt(at) > '9') {
                return false;
            }
        }
        return from < to;
    }
}
