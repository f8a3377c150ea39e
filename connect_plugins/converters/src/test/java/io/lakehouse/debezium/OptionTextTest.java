package io.lakehouse.debezium;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.api.Test;

class OptionTextTest {

  @Test
  void membersAreWhatMysqlStores() {
    assertEquals(
        List.of("p,q", "r\\s", "x'y", "", "v\"w", "back\\", "a\nb", "ä"),
        OptionText.of(
            List.of("'p,q'", "'r\\\\s'", "'x''y'", "''", "'v\"w'", "'back\\\\'", "'a\\nb'", "'ä'")));
  }

  @Test
  void aDefinitionMayQuoteOtherwise() {
    assertEquals("it's", OptionText.of("\"it's\""));
    assertEquals("it's", OptionText.of("'it\\'s'"));
    assertEquals("say \"x\"", OptionText.of("\"say \"\"x\"\"\""));
    assertEquals("50\\%", OptionText.of("'50\\%'"));
  }

  @Test
  void spacesAtTheEndAreTakenOff() {
    assertEquals(" a", OptionText.of("' a  '"));
  }
}
