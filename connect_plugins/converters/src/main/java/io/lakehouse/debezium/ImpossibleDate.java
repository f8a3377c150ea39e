package io.lakehouse.debezium;

import java.io.Serializable;

/**
 * A DATE, DATETIME or TIMESTAMP of MySQL that is in no calendar: zero, zero in parts, of year 0, or such as
 * 30 February (which {@code ALLOW_INVALID_DATES} lets in). A TIMESTAMP is either possible or all zero.
 *
 * @param micros millionths of the second
 */
record ImpossibleDate(int year, int month, int day, int hour, int minute, int second, int micros)
    implements Serializable {

  static final ImpossibleDate ZERO = new ImpossibleDate(0, 0, 0, 0, 0, 0, 0);
}
