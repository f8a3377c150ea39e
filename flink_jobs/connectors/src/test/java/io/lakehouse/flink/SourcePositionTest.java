package io.lakehouse.flink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Holds the function to the vectors that the control plane's encoder is held to as well. */
class SourcePositionTest {
    private static final Path VECTORS = Path.of("..", "..", "tests", "golden", "source_position.json");

    private final SourcePosition function = new SourcePosition();

    static Stream<JsonNode> vectors() throws IOException {
        JsonNode vectors = new ObjectMapper().readTree(Files.readAllBytes(VECTORS)).path("vectors");
        return StreamSupport.stream(vectors.spliterator(), false);
    }

    @ParameterizedTest
    @MethodSource("vectors")
    void agreesWithTheControlPlane(JsonNode vector) {
        int epoch = vector.get("epoch").asInt();
        String file = vector.get("file").asText();
        long pos = vector.get("pos").asLong();
        long row = vector.get("row").asLong();
        if (vector.has("position")) {
            assertEquals(vector.get("position").asLong(), function.eval(epoch, file, pos, row));
        } else {
            assertThrows(IllegalArgumentException.class, () -> function.eval(epoch, file, pos, row));
        }
    }

    @Test
    void saysWhatDoesNotFit() {
        String message = assertThrows(
                        IllegalArgumentException.class, () -> function.eval(0, "binlog.000001", 1L << 32, 0L))
                .getMessage();
        assertTrue(message.contains("pos 4294967296 does not fit 28 bits"), message);
    }

    @Test
    void refusesAChangeWithoutPosition() {
        assertThrows(IllegalArgumentException.class, () -> function.eval(0, null, 4L, 0L));
        assertThrows(IllegalArgumentException.class, () -> function.eval(0, "binlog.000001", null, 0L));
    }
}
