package io.lakehouse.flink.couchdb;

/**
 * What CouchDB holds of a document.
 *
 * @param revision current revision, of a tombstone too
 * @param position source position of the change that wrote it; {@link Long#MIN_VALUE} for a document that has none,
 *     because something else wrote it
 */
record Stored(String revision, long position) {}
