package io.lakehouse.flink.view;

import java.io.Serializable;

/**
 * Turns Flink's internal value of one column into what a serving store takes.
 *
 * @param <T> the store's value
 */
@FunctionalInterface
public interface ValueConverter<T> extends Serializable {
    /**
     * Converts a value that is not null.
     *
     * @throws IllegalArgumentException if the store cannot hold the value exactly
     */
    T convert(Object value);
}
