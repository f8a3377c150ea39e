package io.lakehouse.flink.couchdb;

import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.operators.ProcessingTimeService;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.metrics.Counter;
import org.apache.flink.metrics.groups.SinkWriterMetricGroup;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.flink.table.data.RowData;

/**
 * Collects changes and writes them so that only the newest change of a document survives.
 *
 * <p>Per batch: read what is stored, drop the changes that are not newer (a replayed or late change does nothing, not even
 * to a deleted document, whose tombstone keeps its position), write the others on top of the revision that was read. A
 * document that someone changed in between is refused by CouchDB and goes round again. A batch is written when it is
 * full, at every checkpoint, and every second.
 */
final class CouchDbWriter implements SinkWriter<RowData> {
    private static final long FLUSH_INTERVAL_MILLIS = 1_000;
    private static final int MAX_ROUNDS = 10;

    private final CouchDbClient client;
    private final DocumentCodec codec;
    private final int batchSize;
    private final ProcessingTimeService timer;
    private final SinkWriterMetricGroup metrics;
    private final Counter stale;
    private final Map<String, Change> pending = new LinkedHashMap<>();
    private boolean closed;

    CouchDbWriter(
            CouchDbClient client,
            DocumentCodec codec,
            int batchSize,
            ProcessingTimeService timer,
            SinkWriterMetricGroup metrics) {
        this.client = client;
        this.codec = codec;
        this.batchSize = batchSize;
        this.timer = timer;
        this.metrics = metrics;
        this.stale = metrics.counter("staleChanges");
        scheduleFlush();
    }

    @Override
    public void write(RowData row, Context context) throws IOException, InterruptedException {
        Change change = codec.encode(row);
        pending.merge(change.id(), change, (old, next) -> next.position() >= old.position() ? next : old);
        if (pending.size() >= batchSize) {
            flush(false);
        }
    }

    @Override
    public void flush(boolean endOfInput) throws IOException, InterruptedException {
        for (int round = 1; !pending.isEmpty(); round++) {
            if (round > MAX_ROUNDS) {
                throw new IOException("document %s keeps being changed by someone else"
                        .formatted(pending.keySet().iterator().next()));
            }
            List<ObjectNode> documents = newerThanStored(client.read(pending.keySet()));
            if (!documents.isEmpty()) {
                pending.keySet().retainAll(client.write(documents));
                metrics.getNumRecordsSendCounter().inc(documents.size() - (long) pending.size());
            }
        }
    }

    /** Drops pending changes that are not newer than what is stored; the others as documents to write. */
    private List<ObjectNode> newerThanStored(Map<String, Stored> stored) {
        int before = pending.size();
        pending.values().removeIf(change -> {
            Stored current = stored.get(change.id());
            return current != null && current.position() >= change.position();
        });
        stale.inc(before - (long) pending.size());
        return pending.values().stream()
                .map(change -> onTopOf(stored.get(change.id()), change))
                .toList();
    }

    private static ObjectNode onTopOf(Stored current, Change change) {
        ObjectNode document = change.document().deepCopy();
        if (current != null) {
            document.put("_rev", current.revision());
        }
        return document;
    }

    private void scheduleFlush() {
        timer.registerTimer(timer.getCurrentProcessingTime() + FLUSH_INTERVAL_MILLIS, time -> {
            if (!closed) {
                flush(false);
                scheduleFlush();
            }
        });
    }

    @Override
    public void close() {
        closed = true;
    }
}
