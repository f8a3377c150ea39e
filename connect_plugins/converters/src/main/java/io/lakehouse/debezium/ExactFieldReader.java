package io.lakehouse.debezium;

import io.debezium.connector.mysql.MySqlConnectorConfig;
import io.debezium.connector.mysql.jdbc.MySqlTextProtocolFieldReader;
import io.debezium.relational.Column;
import io.debezium.relational.Table;
import java.io.IOException;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Types;
import java.util.Locale;

/**
 * Reads a snapshot's rows. Dates and times are taken from the server's own text: Debezium and the driver make a zero
 * date null and move October 1582 by ten days.
 */
final class ExactFieldReader extends MySqlTextProtocolFieldReader {

  ExactFieldReader(MySqlConnectorConfig config) {
    super(config);
  }

  /** Whether a column is a FLOAT of four bytes. */
  static boolean isFloat(Column column) {
    return column.typeName().toUpperCase(Locale.ROOT).startsWith("FLOAT") && column.length() <= 24;
  }

  @Override
  public Object readField(ResultSet row, int index, Column column, Table table) throws SQLException {
    String type = column.typeName().toUpperCase(Locale.ROOT);
    return switch (type) {
      case "DATE", "DATETIME", "TIMESTAMP", "TIME", "YEAR" -> readTemporal(row, index, column, table, type);
      default -> {
        if (isFloat(column)) {
          requireAllDigits(row, index, column, table);
        }
        yield super.readField(row, index, column, table);
      }
    };
  }

  private static Object readTemporal(ResultSet row, int index, Column column, Table table, String type)
      throws SQLException {
    byte[] bytes = row.getBytes(index);
    if (bytes == null) {
      return null;
    }
    try {
      return switch (type) {
        case "DATE" -> TemporalValues.date(bytes);
        case "DATETIME" -> TemporalValues.datetime(bytes);
        case "TIMESTAMP" -> TemporalValues.timestamp(bytes);
        case "TIME" -> TemporalValues.time(bytes);
        default -> TemporalValues.year(bytes);
      };
    } catch (IOException problem) {
      throw new SQLException(name(column, table) + ": " + problem.getMessage(), problem);
    }
  }

  /** The server prints six digits of a FLOAT, and all of one cast to DOUBLE. */
  private static void requireAllDigits(ResultSet row, int index, Column column, Table table)
      throws SQLException {
    if (row.getMetaData().getColumnType(index) == Types.REAL) {
      throw new SQLException(
          name(column, table)
              + " is FLOAT, of which MySQL prints six digits only: its snapshot.select.statement.overrides must"
              + " read CAST(column AS DOUBLE)");
    }
  }

  private static String name(Column column, Table table) {
    return table.id() + "." + column.name();
  }
}
