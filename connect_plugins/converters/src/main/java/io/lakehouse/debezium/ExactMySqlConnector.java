package io.lakehouse.debezium;

import io.debezium.connector.mysql.MySqlConnector;
import org.apache.kafka.connect.connector.Task;

/** Debezium's MySQL connector, whose rows are read and converted exactly. Takes the same configuration. */
public final class ExactMySqlConnector extends MySqlConnector {

  @Override
  public Class<? extends Task> taskClass() {
    return ExactMySqlConnectorTask.class;
  }
}
