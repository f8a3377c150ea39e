package io.lakehouse.debezium;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.Charset;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;

/** Text of the binary log, from the bytes of its column's character set. */
final class StrictText {

  private static final Charset WINDOWS_1252 = Charset.forName("windows-1252");

  private StrictText() {}

  /**
   * Decode without replacing anything.
   *
   * @param charset Java's name for the column's character set
   * @throws CharacterCodingException when the bytes are no text of that character set
   */
  static String decode(byte[] bytes, Charset charset) throws CharacterCodingException {
    if (charset.equals(WINDOWS_1252)) {
      return latin1(bytes);
    }
    return charset
        .newDecoder()
        .onMalformedInput(CodingErrorAction.REPORT)
        .onUnmappableCharacter(CodingErrorAction.REPORT)
        .decode(ByteBuffer.wrap(bytes))
        .toString();
  }

  /** MySQL's latin1 is Windows' code page 1252, with control characters in its five gaps. */
  private static String latin1(byte[] bytes) {
    String text = new String(bytes, WINDOWS_1252);
    if (text.indexOf('\ufffd') < 0) {
      return text;
    }
    StringBuilder repaired = new StringBuilder(text);
    String controls = new String(bytes, StandardCharsets.ISO_8859_1);
    for (int i = 0; i < bytes.length; i++) {
      if (repaired.charAt(i) == '\ufffd') {
        repaired.setCharAt(i, controls.charAt(i));
      }
    }
    return repaired.toString();
  }
}
