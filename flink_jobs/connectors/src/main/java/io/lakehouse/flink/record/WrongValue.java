package io.lakehouse.flink.record;

/** Says why a record, or a value of it, cannot be carried. It is no error of the program, so it has no stack trace. */
final class WrongValue extends Exception {
    WrongValue(String why) {
        super(why, null, false, false);
    }
}
