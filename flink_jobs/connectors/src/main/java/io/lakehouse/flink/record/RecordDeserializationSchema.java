package io.lakehouse.flink.record;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.metrics.Counter;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonStreamContext;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;

/**
 * Turns a flattened change of Debezium into a row of exact values.
 *
 * <p>All fields of the layout are read from every record, whichever of them a query asks for: whether a record can be
 * carried must not depend on who reads it. A record that cannot becomes a row of nulls but for the reason and the
 * record's bytes; a table without columns for these stops at it.
 */
final class RecordDeserializationSchema implements DeserializationSchema<RowData> {
    /** Name of the metric that counts refused records. */
    static final String QUARANTINED = "quarantined";

    private static final String TRUNCATED = "TRUNCATE of the table";
    /** Room for decoding that is kept between records, in characters; a longer record gets its own. */
    private static final int KEPT_CHARACTERS = 1 << 18;

    private final RecordLayout layout;
    private final TypeInformation<RowData> producedType;

    private transient RecordLayout.Field[] fields;
    private transient Map<String, Integer> places;
    private transient boolean[] seen;
    private transient JsonFactory json;
    private transient CharsetDecoder utf8;
    private transient char[] characters;
    private transient Counter quarantined;

    RecordDeserializationSchema(RecordLayout layout, TypeInformation<RowData> producedType) {
        this.layout = layout;
        this.producedType = producedType;
    }

    @Override
    public void open(InitializationContext context) {
        fields = layout.fields().toArray(RecordLayout.Field[]::new);
        places = new HashMap<>();
        for (int place = 0; place < fields.length; place++) {
            places.put(fields[place].name(), place);
        }
        seen = new boolean[fields.length];
        json = new JsonFactory();
        utf8 = StandardCharsets.UTF_8
                .newDecoder()
                .onMalformedInput(CodingErrorAction.REPORT)
                .onUnmappableCharacter(CodingErrorAction.REPORT);
        characters = new char[0];
        quarantined = context.getMetricGroup().counter(QUARANTINED);
    }

    /**
     * Turns a record into a row; a tombstone (no bytes at all) has none.
     *
     * @throws IOException if the record cannot be carried and the table has no columns for such a record
     */
    @Override
    public RowData deserialize(byte[] message) throws IOException {
        if (message == null) {
            return null;
        }
        try {
            return read(message);
        } catch (WrongValue wrong) {
            return refused(wrong.getMessage(), message);
        }
    }

    @Override
    public boolean isEndOfStream(RowData next) {
        return false;
    }

    @Override
    public TypeInformation<RowData> getProducedType() {
        return producedType;
    }

    private RowData refused(String why, byte[] message) throws IOException {
        String reason = Reasons.reason(why);
        if (!layout.takesRefused()) {
            throw new IOException(reason);
        }
        quarantined.inc();
        GenericRowData row = new GenericRowData(layout.arity());
        row.setField(layout.error(), StringData.fromString(reason));
        row.setField(layout.raw(), message);
        return row;
    }

    private RowData read(byte[] message) throws WrongValue {
        CharBuffer text = decoded(message);
        try (JsonParser parser = json.createParser(text.array(), 0, text.position())) {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                throw new WrongValue("record: expected an object, got " + Reasons.shown(parser));
            }
            RowData row = object(parser);
            if (parser.nextToken() != null) {
                throw new WrongValue("record: there is more behind its end");
            }
            return row;
        } catch (JsonProcessingException wrong) {
            long character = wrong.getLocation() == null ? 0 : wrong.getLocation().getCharOffset();
            throw new WrongValue(
                    "record: not JSON at character %d: %s".formatted(character, Reasons.remark(wrong.getOriginalMessage())));
        } catch (IOException | RuntimeException wrong) {
            // The parser itself may give up on a record, as on names that were made to collide: no reason to stop the job.
            throw new WrongValue("record: cannot be read: " + Reasons.remark(wrong.toString()));
        }
    }

    /** Reads the record to its end even when a value is refused: what the change did is often told last. */
    private RowData object(JsonParser parser) throws IOException, WrongValue {
        JsonStreamContext record = parser.getParsingContext();
        GenericRowData row = new GenericRowData(layout.arity());
        String refusal = null;
        boolean truncated = false;
        Arrays.fill(seen, false);
        for (String name = parser.nextFieldName(); name != null; name = parser.nextFieldName()) {
            JsonToken token = parser.nextToken();
            Integer place = places.get(name);
            if (place == null) {
                parser.skipChildren();
                continue;
            }
            try {
                Object value = value(parser, token, place);
                RecordLayout.Field field = fields[place];
                if (field.column() != RecordLayout.NOWHERE) {
                    row.setField(field.column(), value);
                }
                truncated |= place == layout.operation() && value.toString().equals("t");
            } catch (WrongValue wrong) {
                refusal = refusal == null ? "column %s: %s".formatted(name, wrong.getMessage()) : refusal;
                while (parser.getParsingContext() != record) {
                    parser.nextToken();
                }
            }
        }
        if (truncated) {
            throw new WrongValue(TRUNCATED);
        }
        if (refusal != null) {
            throw new WrongValue(refusal);
        }
        for (int place = 0; place < fields.length; place++) {
            if (fields[place].required() && !seen[place]) {
                throw new WrongValue("column %s: is required, but missing".formatted(fields[place].name()));
            }
        }
        return row;
    }

    private Object value(JsonParser parser, JsonToken token, int place) throws IOException, WrongValue {
        if (seen[place]) {
            throw new WrongValue("is there twice");
        }
        seen[place] = true;
        if (token != JsonToken.VALUE_NULL) {
            return fields[place].decoder().decode(parser);
        }
        if (fields[place].required()) {
            throw new WrongValue("is required, but null");
        }
        return null;
    }

    private CharBuffer decoded(byte[] message) throws WrongValue {
        // A character takes at least one byte, so this is always enough.
        char[] room = message.length <= characters.length ? characters : new char[2 * message.length];
        if (room.length <= KEPT_CHARACTERS) {
            characters = room;
        }
        ByteBuffer bytes = ByteBuffer.wrap(message);
        CharBuffer text = CharBuffer.wrap(room);
        utf8.reset();
        if (utf8.decode(bytes, text, true).isError() || utf8.flush(text).isError()) {
            throw new WrongValue("record: not UTF-8 at byte %d".formatted(bytes.position()));
        }
        return text;
    }
}
