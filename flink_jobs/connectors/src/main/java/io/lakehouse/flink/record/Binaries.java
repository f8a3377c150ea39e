package io.lakehouse.flink.record;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;

/** Bytes of a record, written as base64. */
final class Binaries {
    private static final byte[] SIX_BITS = sixBits();
    private static final long MAX_SRID = 0xFFFF_FFFFL;
    private static final Set<String> COORDINATES = Set.of("x", "y");

    private Binaries() {}

    /** Any bytes. */
    static Object bytes(JsonParser parser) throws IOException, WrongValue {
        return base64(parser);
    }

    /** Exactly so many bytes, as they are. */
    static FieldDecoder bits(int length) {
        return parser -> {
            byte[] bytes = base64(parser);
            if (bytes.length != length) {
                throw new WrongValue(
                        "expected %d bytes, got %d: %s".formatted(length, bytes.length, Reasons.shown(parser)));
            }
            return bytes;
        };
    }

    /**
     * A geometry as MySQL itself keeps it: four bytes of SRID, the lowest first, then WKB. A geometry without SRID has
     * the SRID 0 there. Debezium tells a POINT's coordinates once more beside its WKB; they are left.
     */
    static Object geometry(JsonParser parser) throws IOException, WrongValue {
        if (!parser.hasToken(JsonToken.START_OBJECT)) {
            throw Reasons.expected("an object of wkb and srid", parser);
        }
        byte[] wkb = null;
        long srid = 0;
        boolean sridTold = false;
        Set<String> coordinates = new HashSet<>(COORDINATES);
        for (String name = parser.nextFieldName(); name != null; name = parser.nextFieldName()) {
            parser.nextToken();
            if (name.equals("wkb") && wkb == null) {
                wkb = base64(parser);
            } else if (name.equals("srid") && !sridTold) {
                sridTold = true;
                srid = parser.hasToken(JsonToken.VALUE_NULL) ? 0 : Numbers.longValue(parser, "an SRID");
            } else if (parser.currentToken().isNumeric() && coordinates.remove(name)) {
                continue;
            } else {
                throw new WrongValue("field %s of a geometry is unknown or there twice".formatted(Reasons.value(name)));
            }
        }
        if (wkb == null) {
            throw new WrongValue("a geometry without wkb");
        }
        if (srid < 0 || srid > MAX_SRID) {
            throw new WrongValue("%d is outside the range of an SRID".formatted(srid));
        }
        return ByteBuffer.allocate(Integer.BYTES + wkb.length)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt((int) srid)
                .put(wkb)
                .array();
    }

    /** Java's own decoder passes over missing padding and over bits that stand for nothing; this one does not. */
    private static byte[] base64(JsonParser parser) throws IOException, WrongValue {
        if (!parser.hasToken(JsonToken.VALUE_STRING)) {
            throw Reasons.expected("a string of base64", parser);
        }
        char[] text = parser.getTextCharacters();
        int from = parser.getTextOffset();
        int length = parser.getTextLength();
        if (length % 4 != 0) {
            throw notBase64(parser);
        }
        int end = from + length;
        int padding = length == 0 || text[end - 1] != '=' ? 0 : text[end - 2] == '=' ? 2 : 1;
        byte[] bytes = new byte[length / 4 * 3 - padding];
        int filled = 0;
        int whole = padding == 0 ? end : end - 4;
        for (int at = from; at < whole; at += 4) {
            int group = sixBits(text[at]) << 18
                    | sixBits(text[at + 1]) << 12
                    | sixBits(text[at + 2]) << 6
                    | sixBits(text[at + 3]);
            if (group < 0) {
                throw notBase64(parser);
            }
            bytes[filled++] = (byte) (group >> 16);
            bytes[filled++] = (byte) (group >> 8);
            bytes[filled++] = (byte) group;
        }
        if (padding != 0) {
            int third = padding == 2 ? 0 : sixBits(text[whole + 2]);
            int group = sixBits(text[whole]) << 18 | sixBits(text[whole + 1]) << 12 | third << 6;
            if (group < 0 || (group & (padding == 2 ? 0xFFFF : 0xFF)) != 0) {
                throw notBase64(parser);
            }
            bytes[filled++] = (byte) (group >> 16);
            if (padding == 1) {
                bytes[filled] = (byte) (group >> 8);
            }
        }
        return bytes;
    }

    private static WrongValue notBase64(JsonParser parser) throws IOException {
        return Reasons.expected("base64", parser);
    }

    private static int sixBits(char character) {
        return character < SIX_BITS.length ? SIX_BITS[character] : -1;
    }

    private static byte[] sixBits() {
        String digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        byte[] table = new byte[128];
        Arrays.fill(table, (byte) -1);
        for (int value = 0; value < digits.length(); value++) {
            table[digits.charAt(value)] = (byte) value;
        }
        return table;
    }
}
