package io.lakehouse.flink.record;

import java.util.Map;
import java.util.Set;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.format.DecodingFormat;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.types.DataType;
import org.apache.flink.table.types.logical.RowType;

/**
 * The planner's view of a {@link RecordDeserializationSchema}. It takes no projection: every column is always read, so
 * that every job refuses the same records.
 */
record RecordDecodingFormat(Map<String, String> kinds, Set<String> required)
        implements DecodingFormat<DeserializationSchema<RowData>> {
    @Override
    public DeserializationSchema<RowData> createRuntimeDecoder(
            DynamicTableSource.Context context, DataType physicalDataType) {
        RecordLayout layout = RecordLayout.of((RowType) physicalDataType.getLogicalType(), kinds, required);
        return new RecordDeserializationSchema(layout, context.createTypeInformation(physicalDataType));
    }

    @Override
    public ChangelogMode getChangelogMode() {
        return ChangelogMode.insertOnly();
    }
}
