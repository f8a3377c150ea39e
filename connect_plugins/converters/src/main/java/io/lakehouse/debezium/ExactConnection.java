package io.lakehouse.debezium;

import io.debezium.connector.mysql.jdbc.MySqlConnection;
import io.debezium.connector.mysql.jdbc.MySqlConnectionConfiguration;
import io.debezium.connector.mysql.MySqlConnectorConfig;
import io.debezium.relational.Column;
import io.debezium.relational.Table;
import io.debezium.relational.TableId;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.time.Duration;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Collectors;

/** A connection for snapshots, whose chunks of a re-snapshot hold every column with all its digits. */
final class ExactConnection extends MySqlConnection {

  private static final String ALL = "*";

  private final Function<TableId, Table> tables;

  /**
   * @param tables what is known of a table, null when nothing is
   */
  ExactConnection(
      MySqlConnectionConfiguration connection, MySqlConnectorConfig config, Function<TableId, Table> tables) {
    super(connection, new ExactFieldReader(config));
    this.tables = tables;
  }

  @Override
  public String buildSelectWithRowLimits(
      TableId id,
      int limit,
      String projection,
      Optional<String> condition,
      Optional<String> additionalCondition,
      String orderBy,
      Optional<String> alias) {
    Table table = tables.apply(id);
    String columns = table == null || !projection.equals(ALL) ? projection : projection(table);
    return super.buildSelectWithRowLimits(
        id, limit, columns, condition, additionalCondition, orderBy, alias);
  }

  @Override
  public void setQueryColumnValue(PreparedStatement statement, Column column, int position, Object value)
      throws SQLException {
    if (!setTemporal(statement, column, position, value)) {
      super.setQueryColumnValue(statement, column, position, value);
    }
  }

  /**
   * Sets a value of a key, after which a re-snapshot goes on, if it is one that the driver does not know.
   *
   * @throws SQLException if it is a date that no calendar has: the driver would send it as bytes
   */
  static boolean setTemporal(PreparedStatement statement, Column column, int position, Object value)
      throws SQLException {
    if (value instanceof ImpossibleDate) {
      throw new SQLException(
          "column " + column.name() + " is part of a key, and its date is none: no row can be compared with it");
    }
    if (!(value instanceof Duration time)) {
      return false;
    }
    statement.setString(position, TemporalText.time(time));
    return true;
  }

  /** Without an invisible column named it is not there, and its values would be taken for NULL. */
  private String projection(Table table) {
    return table.columns().stream().map(this::expression).collect(Collectors.joining(", "));
  }

  private String expression(Column column) {
    String name = quoteIdentifier(column.name());
    return ExactFieldReader.isFloat(column) ? "CAST(" + name + " AS DOUBLE) AS " + name : name;
  }
}
