package io.lakehouse.flink.couchdb;

import java.io.IOException;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.table.data.RowData;

/** Makes one {@link CouchDbWriter} per sink task. */
final class CouchDbSink implements Sink<RowData> {
    private final CouchDbAddress address;
    private final DocumentCodec codec;
    private final int batchSize;

    CouchDbSink(CouchDbAddress address, DocumentCodec codec, int batchSize) {
        this.address = address;
        this.codec = codec;
        this.batchSize = batchSize;
    }

    @Override
    public SinkWriter<RowData> createWriter(WriterInitContext context) throws IOException {
        CouchDbClient client = new CouchDbClient(address);
        try {
            client.createDatabaseIfMissing();
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted while looking for CouchDB database " + address, interrupted);
        }
        return new CouchDbWriter(
                client, codec, batchSize, context.getProcessingTimeService(), context.metricGroup());
    }

    @Override
    @SuppressWarnings("deprecation") // still abstract in the interface, no longer called by Flink 1.20
    public SinkWriter<RowData> createWriter(InitContext context) {
        throw new UnsupportedOperationException("the couchdb sink needs Flink 1.20 or later");
    }
}
