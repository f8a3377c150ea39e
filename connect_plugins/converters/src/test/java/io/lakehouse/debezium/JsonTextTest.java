package io.lakehouse.debezium;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.util.HexFormat;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** MySQL's storage format of JSON: a type, then the value; 0f is a type of a column with a length and its bytes. */
class JsonTextTest {

  @ParameterizedTest
  @CsvSource({
    "0400, null",
    "0401, true",
    "050080, -32768",
    "0affffffffffffffff, 18446744073709551615",
    "0b0000000000000080, -0.0",
    "0b000000205fa00242, 10000000000.0",
    "0c0341220a, '\"A\\\"\\n\"'",
    "0000000400, {}",
    "0200000400, []",
    // [1, true]
    "0202000a000501000401 00, '[1, true]'",
    // {"a": 1}
    "000100 0c00 0b00 0100 05 0100 61, '{\"a\": 1}'",
    // TIME, DATE and DATETIME: a number of eight bytes, little-endian
    "0f0b08 ffffffffffffffff, '\"-00:00:00.000001\"'",
    "0f0b08 e05ef8ffffffffff, '\"-00:00:00.500000\"'",
    "0f0b08 000000fb6e340000, '\"838:59:59.000000\"'",
    "0f0a08 0000000000ccb619, '\"2025-06-06\"'",
    "0f0f03 616263, '\"base64:type15:YWJj\"'",
  })
  void asMysqlPrintsIt(String binary, String text) throws IOException {
    assertEquals(text, JsonText.of(HexFormat.of().parseHex(binary.replace(" ", ""))));
  }

  @Test
  void whatIsNoJsonIsRefused() {
    assertThrows(IOException.class, () -> JsonText.of(new byte[] {0x77}));
  }
}
