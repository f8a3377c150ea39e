package io.lakehouse.flink.view;

import java.io.Serializable;
import org.apache.flink.table.types.logical.LogicalType;

/**
 * One column of a serving view as it arrives in the sink.
 *
 * @param name name in the sink table, and in the serving store
 * @param type Flink's type of the column
 * @param index place of the column in the row
 */
public record ViewColumn(String name, LogicalType type, int index) implements Serializable {}
