package io.lakehouse.debezium;

import java.math.BigDecimal;
import java.math.MathContext;
import java.math.RoundingMode;

/** Numbers of type DOUBLE as MySQL prints them. */
final class DoubleText {

  /** With more zeros than this on one side of the point MySQL prints an exponent. */
  private static final int MAX_PLACES = 15;

  /** So many digits name every double. */
  private static final int MAX_DIGITS = 17;

  private DoubleText() {}

  /** As a value in JSON: a whole number has {@code .0}. */
  static String inJson(double value) {
    String text = of(value);
    return text.indexOf('.') < 0 && text.indexOf('e') < 0 ? text + ".0" : text;
  }

  private static String of(double value) {
    if (value == 0) {
      return 1 / value < 0 ? "-0" : "0";
    }
    BigDecimal shortest = shortest(Math.abs(value));
    String digits = shortest.unscaledValue().toString();
    int point = digits.length() - shortest.scale(); // digits before the decimal point, or minus zeros after it
    String sign = value < 0 ? "-" : "";
    return sign + (isPlain(digits.length(), point) ? plain(digits, point) : scientific(digits, point));
  }

  private static boolean isPlain(int digits, int point) {
    return point > -MAX_PLACES && (point <= MAX_PLACES || digits > point);
  }

  private static String plain(String digits, int point) {
    if (point <= 0) {
      return "0." + "0".repeat(-point) + digits;
    }
    if (point >= digits.length()) {
      return digits + "0".repeat(point - digits.length());
    }
    return digits.substring(0, point) + "." + digits.substring(point);
  }

  private static String scientific(String digits, int point) {
    String fraction = digits.length() > 1 ? "." + digits.substring(1) : "";
    return digits.charAt(0) + fraction + "e" + (point - 1);
  }

  /** The shortest decimal that reads as this double; Java 17's own is not always the shortest. */
  private static BigDecimal shortest(double value) {
    BigDecimal exact = new BigDecimal(value);
    for (int digits = 1; digits < MAX_DIGITS; digits++) {
      BigDecimal candidate = rounded(exact, digits);
      if (candidate.doubleValue() == value) {
        return candidate;
      }
    }
    return rounded(exact, MAX_DIGITS);
  }

  private static BigDecimal rounded(BigDecimal exact, int digits) {
    return exact.round(new MathContext(digits, RoundingMode.HALF_EVEN)).stripTrailingZeros();
  }
}
