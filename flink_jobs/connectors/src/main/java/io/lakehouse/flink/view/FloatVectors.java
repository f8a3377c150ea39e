package io.lakehouse.flink.view;

import java.util.ArrayList;
import java.util.List;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.types.logical.ArrayType;
import org.apache.flink.table.types.logical.LogicalType;
import org.apache.flink.table.types.logical.LogicalTypeRoot;

/** Columns of type ARRAY&lt;FLOAT&gt;, MySQL's VECTOR: the only arrays that a serving view holds. */
public final class FloatVectors {
    private FloatVectors() {}

    /** Whether the type is an array of floats. */
    public static boolean fits(LogicalType type) {
        return type instanceof ArrayType array && array.getElementType().is(LogicalTypeRoot.FLOAT);
    }

    /**
     * The elements in their order.
     *
     * @throws IllegalArgumentException if one is null, which a VECTOR cannot hold
     */
    public static List<Float> elements(String column, ArrayData array) {
        List<Float> elements = new ArrayList<>(array.size());
        for (int index = 0; index < array.size(); index++) {
            if (array.isNullAt(index)) {
                throw new IllegalArgumentException("column %s: element %d is null".formatted(column, index));
            }
            elements.add(array.getFloat(index));
        }
        return elements;
    }
}
