package io.lakehouse.flink.couchdb;

import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;

/**
 * One change of one document.
 *
 * @param id document id
 * @param position source position; of two changes of a document the greater one is the newer
 * @param document the document to store, a tombstone ({@code "_deleted": true}) for a delete; without a revision
 */
record Change(String id, long position, ObjectNode document) {}
