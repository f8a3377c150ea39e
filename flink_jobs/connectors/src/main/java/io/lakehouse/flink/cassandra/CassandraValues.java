package io.lakehouse.flink.cassandra;

import com.datastax.driver.core.LocalDate;
import io.lakehouse.flink.view.FloatVectors;
import io.lakehouse.flink.view.ValueConverter;
import io.lakehouse.flink.view.ViewColumn;
import java.nio.ByteBuffer;
import java.util.Date;
import org.apache.flink.table.api.ValidationException;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.DecimalData;
import org.apache.flink.table.data.TimestampData;

/** Flink's values as the Cassandra driver binds them. */
final class CassandraValues {
    private static final int NANOS_PER_MILLI = 1_000_000;

    private CassandraValues() {}

    /**
     * The converter of a column.
     *
     * @throws ValidationException if Cassandra has no exact type for the column
     */
    static ValueConverter<Object> converter(ViewColumn column) {
        return switch (column.type().getTypeRoot()) {
            case CHAR, VARCHAR -> Object::toString;
            case BOOLEAN, TINYINT, SMALLINT, INTEGER, BIGINT, FLOAT, DOUBLE -> value -> value;
            case DECIMAL -> value -> ((DecimalData) value).toBigDecimal();
            case DATE -> value -> LocalDate.fromDaysSinceEpoch((Integer) value);
            case TIME_WITHOUT_TIME_ZONE -> value -> (Integer) value * (long) NANOS_PER_MILLI;
            case TIMESTAMP_WITHOUT_TIME_ZONE, TIMESTAMP_WITH_LOCAL_TIME_ZONE -> timestamp(column.name());
            case BINARY, VARBINARY -> value -> ByteBuffer.wrap((byte[]) value);
            case ARRAY -> floats(column);
            default -> throw unfit(column);
        };
    }

    private static ValidationException unfit(ViewColumn column) {
        return new ValidationException("column %s: the cassandra-view sink cannot carry %s"
                .formatted(column.name(), column.type().asSummaryString()));
    }

    /**
     * A {@code frozen<list<float>>}. Not a plain list: writing one twice at one timestamp, as a replay does, doubles it,
     * and an empty one is null.
     */
    private static ValueConverter<Object> floats(ViewColumn column) {
        if (!FloatVectors.fits(column.type())) {
            throw unfit(column);
        }
        return value -> FloatVectors.elements(column.name(), (ArrayData) value);
    }

    /** Cassandra's timestamp holds milliseconds: a finer value is refused, never cut. */
    private static ValueConverter<Object> timestamp(String column) {
        return value -> {
            TimestampData timestamp = (TimestampData) value;
            if (timestamp.getNanoOfMillisecond() != 0) {
                throw new IllegalArgumentException(
                        "column %s: %s is finer than the milliseconds of Cassandra's timestamp; carry the column as text or as BIGINT microseconds"
                                .formatted(column, timestamp));
            }
            return new Date(timestamp.getMillisecond());
        };
    }
}
