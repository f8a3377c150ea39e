package io.lakehouse.debezium;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.debezium.relational.Column;
import java.lang.reflect.Proxy;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.time.Duration;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class ExactConnectionTest {

  private static final Column AT = Column.editor().name("at").type("TIME").length(6).position(1).create();

  private final List<String> done = new ArrayList<>();
  private final PreparedStatement statement =
      (PreparedStatement)
          Proxy.newProxyInstance(
              getClass().getClassLoader(),
              new Class<?>[] {PreparedStatement.class},
              (proxy, method, arguments) -> {
                done.add(method.getName() + " " + arguments[1]);
                return null;
              });

  @Test
  void aTimeInAKeyIsComparedAsMysqlPrintsIt() throws SQLException {
    assertTrue(set(Duration.ofHours(-838).minusMinutes(59).minusSeconds(58).minusNanos(999_999_000)));
    assertTrue(set(Duration.ofSeconds(86_400, 500_000_000)));
    assertFalse(set(LocalDate.of(2024, 2, 29)), "the driver knows it");
    assertEquals(List.of("setString -838:59:58.999999", "setString 24:00:00.500000"), done);
  }

  @Test
  void aKeyThatIsNoDateIsNotComparedAtAll() {
    SQLException told = assertThrows(SQLException.class, () -> set(ImpossibleDate.ZERO));
    assertTrue(told.getMessage().contains("column at"));
    assertEquals(List.of(), done);
  }

  private boolean set(Object value) throws SQLException {
    return ExactConnection.setTemporal(statement, AT, 1, value);
  }
}
