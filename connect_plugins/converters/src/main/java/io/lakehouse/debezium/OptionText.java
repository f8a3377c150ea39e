package io.lakehouse.debezium;

import java.util.List;

/** Members of ENUM and SET from their literals in a table's definition. */
final class OptionText {

  private OptionText() {}

  /** Members of a column, in order. */
  static List<String> of(List<String> literals) {
    return literals.stream().map(OptionText::of).toList();
  }

  /**
   * One member from its literal, quotes included. MySQL takes spaces off a member's end.
   *
   * <p>Debezium's own reading puts a backslash before a comma and leaves escapes as they are, but only in the stream.
   */
  static String of(String literal) {
    String text = literal.strip();
    if (text.length() < 2 || text.charAt(0) != '\'' && text.charAt(0) != '"') {
      return text;
    }
    char quote = text.charAt(0);
    StringBuilder member = new StringBuilder(text.length());
    for (int i = 1; i < text.length() - 1; i++) {
      char character = text.charAt(i);
      if (character == '\\' && i + 1 < text.length() - 1) {
        member.append(escaped(text.charAt(++i)));
      } else {
        member.append(character);
        if (character == quote) {
          i++; // written twice
        }
      }
    }
    return member.toString().replaceAll(" +$", "");
  }

  private static String escaped(char character) {
    return switch (character) {
      case '0' -> "\0";
      case 'b' -> "\b";
      case 'n' -> "\n";
      case 'r' -> "\r";
      case 't' -> "\t";
      case 'Z' -> "\032";
      case '%', '_' -> "\\" + character;
      default -> String.valueOf(character);
    };
  }
}
