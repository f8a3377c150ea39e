package io.lakehouse.flink;

import org.apache.flink.table.functions.ScalarFunction;

/**
 * SQL function {@code source_position(epoch INT, file STRING, pos BIGINT, row BIGINT) RETURNS BIGINT}: the place of a
 * change in a MySQL server's binary log as one totally ordered, never negative number.
 *
 * <p>From the most significant bit of 63: epoch 4, number of the binlog file 19, byte position in units of 16 bytes 28,
 * row inside the event 12. The header alone of a binlog event takes 19 bytes, so two events of one file never share a
 * unit of 16 bytes. The control plane encodes the same layout ({@code lakehouse_dagster/contract/position.py}); both are
 * held to {@code tests/golden/source_position.json}.
 */
public final class SourcePosition extends ScalarFunction {
    private static final int FILE_BITS = 19;
    private static final int POS_BITS = 28;
    private static final int ROW_BITS = 12;
    private static final int EPOCH_BITS = 4;
    private static final long POS_UNIT = 16;

    private static final int POS_SHIFT = ROW_BITS;
    private static final int FILE_SHIFT = POS_SHIFT + POS_BITS;
    private static final int EPOCH_SHIFT = FILE_SHIFT + FILE_BITS;

    /**
     * Called by Flink for each row.
     *
     * @throws IllegalArgumentException if an argument is null, the file name does not end in a dot and digits, or a part
     *     does not fit its bits: a change without a proper position must stop the job, not be written in a wrong order
     */
    public Long eval(Integer epoch, String file, Long pos, Long row) {
        if (epoch == null || file == null || pos == null || row == null) {
            throw new IllegalArgumentException(
                    "source position: a change carries no complete position (epoch %s, file %s, pos %s, row %s)"
                            .formatted(epoch, file, pos, row));
        }
        return encode(epoch, fileNumber(file), pos, row);
    }

    /** Number of a binlog file: {@code binlog.000012} is 12. */
    static long fileNumber(String file) {
        int dot = file.lastIndexOf('.');
        String digits = file.substring(dot + 1);
        if (dot < 0 || digits.isEmpty() || !digits.chars().allMatch(c -> c >= '0' && c <= '9')) {
            throw new IllegalArgumentException(
                    "source position: '%s' is not the name of a binary log file (expected name.000001)".formatted(file));
        }
        try {
            return Long.parseLong(digits);
        } catch (NumberFormatException overflow) {
            throw overflow("file", file, FILE_BITS);
        }
    }

    /** Packs the four parts; refuses what does not fit. */
    static long encode(long epoch, long file, long pos, long row) {
        return fitting("epoch", epoch, epoch, EPOCH_BITS) << EPOCH_SHIFT
                | fitting("file", file, file, FILE_BITS) << FILE_SHIFT
                | fitting("pos", Math.floorDiv(pos, POS_UNIT), pos, POS_BITS) << POS_SHIFT
                | fitting("row", row, row, ROW_BITS);
    }

    private static long fitting(String part, long value, Object shown, int bits) {
        if (value < 0 || value >= 1L << bits) {
            throw overflow(part, shown, bits);
        }
        return value;
    }

    private static IllegalArgumentException overflow(String part, Object shown, int bits) {
        return new IllegalArgumentException(
                "source position: %s %s does not fit %d bits%s; start a new epoch after resetting the source's binary log, or split the transaction"
                        .formatted(part, shown, bits, part.equals("pos") ? " of 16-byte units" : ""));
    }
}
