package io.lakehouse.debezium;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.charset.CharacterCodingException;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

class StrictTextTest {

  private static final Charset LATIN1 = Charset.forName("windows-1252");

  @Test
  void latin1HasControlsWhereWindowsHasNothing() throws CharacterCodingException {
    byte[] bytes = {'a', (byte) 0x80, (byte) 0x81, (byte) 0x8d, (byte) 0x8f, (byte) 0x90, (byte) 0x9d, (byte) 0xe4};
    assertEquals("a\u20ac\u0081\u008d\u008f\u0090\u009d\u00e4", StrictText.decode(bytes, LATIN1));
  }

  @Test
  void nothingIsReplaced() throws CharacterCodingException {
    assertEquals("\ufffd", StrictText.decode("\ufffd".getBytes(StandardCharsets.UTF_8), StandardCharsets.UTF_8));
    assertThrows(
        CharacterCodingException.class,
        () -> StrictText.decode(new byte[] {(byte) 0xc3}, StandardCharsets.UTF_8));
    assertThrows(
        CharacterCodingException.class,
        () -> StrictText.decode(new byte[] {(byte) 0xd8, 0}, StandardCharsets.UTF_16BE));
  }
}
