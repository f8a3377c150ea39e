package io.lakehouse.debezium;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What MySQL 9.7 printed of these. */
class DoubleTextTest {

  @ParameterizedTest
  @CsvSource({
    "0x0p0, 0.0",
    "-0x0p0, -0.0",
    "0.1, 0.1",
    "3, 3.0",
    "-100, -100.0",
    "1e10, 10000000000.0",
    "1e14, 100000000000000.0",
    "1e15, 1e15",
    "123456789012345680000, 1.2345678901234568e20",
    "18446744073709551616, 1.8446744073709552e19",
    "1e308, 1e308",
    "1.7976931348623157e308, 1.7976931348623157e308",
    "5e-324, 5e-324",
    "2.2250738585072014e-308, 2.2250738585072014e-308",
    "1e-7, 0.0000001",
    "0.30000000000000004, 0.30000000000000004",
    "123456789.123456789, 123456789.12345679",
    "6.387016158513563e-12, 0.000000000006387016158513563",
    "-9.495701001087435e-15, -0.000000000000009495701001087435",
    "2.2338639401742750e-14, 0.00000000000002233863940174275",
    "216322300456100.125, 216322300456100.12",
    "1566242031058280.25, 1566242031058280.2",
    "16777217, 16777217.0",
  })
  void asInJson(String value, String text) {
    assertEquals(text, DoubleText.inJson(Double.parseDouble(value)));
  }
}
