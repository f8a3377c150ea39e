package io.lakehouse.flink.record;

import java.io.IOException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;

/** The words in which a record is refused: short, on one line, and text that every store takes. */
final class Reasons {
    private static final int MAX_REASON = 500;
    private static final int MAX_VALUE = 60;
    private static final int MAX_REMARK = 80;
    private static final String MORE = "...";

    private Reasons() {}

    /** A refusal of the value at which the parser stands: what was expected, and what is there. */
    static WrongValue expected(String what, JsonParser parser) throws IOException {
        return new WrongValue("expected %s, got %s".formatted(what, shown(parser)));
    }

    /** The value at which the parser stands, at most 60 characters of it; strings in quotes. */
    static String shown(JsonParser parser) throws IOException {
        JsonToken token = parser.currentToken();
        if (token == null) {
            return "nothing";
        }
        return switch (token) {
            case START_OBJECT -> "an object";
            case START_ARRAY -> "an array";
            case VALUE_STRING -> "'" + beginning(parser) + "'";
            default -> beginning(parser);
        };
    }

    /** A whole reason, at most 500 characters. */
    static String reason(String text) {
        return shortened(text, MAX_REASON);
    }

    /** A value inside a reason, at most 60 characters. */
    static String value(String text) {
        return shortened(text, MAX_VALUE);
    }

    /** What the parser has to say, at most 80 characters: it may quote the record. */
    static String remark(String text) {
        return shortened(text, MAX_REMARK);
    }

    private static String beginning(JsonParser parser) throws IOException {
        // One more than is shown, so that it can be seen whether there is more; the value itself may be huge.
        int length = Math.min(parser.getTextLength(), MAX_VALUE + 1);
        return value(new String(parser.getTextCharacters(), parser.getTextOffset(), length));
    }

    private static String shortened(String text, int max) {
        StringBuilder shown = new StringBuilder(text);
        if (text.length() > max) {
            int end = max - MORE.length();
            shown.setLength(Character.isHighSurrogate(text.charAt(end - 1)) ? end - 1 : end);
            shown.append(MORE);
        }
        for (int at = 0; at < shown.length(); at++) {
            char character = shown.charAt(at);
            boolean pair = Character.isHighSurrogate(character)
                    && at + 1 < shown.length()
                    && Character.isLowSurrogate(shown.charAt(at + 1));
            if (pair) {
                at++;
            } else if (Character.isISOControl(character) || Character.isSurrogate(character)) {
                shown.setCharAt(at, '?');
            }
        }
        return shown.toString();
    }
}
