package io.lakehouse.flink.record;

import java.io.IOException;
import java.io.Serializable;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;

/** Turns a value of a record into Flink's internal value of its column. */
@FunctionalInterface
interface FieldDecoder extends Serializable {
    /**
     * Decodes a value that is not null. The parser stands at the value's first token and is left at its last one, or
     * anywhere inside when the value is refused.
     *
     * @throws WrongValue if the column cannot carry the value exactly; the message does not name the column
     * @throws IOException if the record is not JSON
     */
    Object decode(JsonParser parser) throws IOException, WrongValue;
}
