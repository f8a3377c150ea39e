package io.lakehouse.flink.couchdb;

import io.lakehouse.flink.view.ViewSchema;
import java.io.IOException;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ArrayNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;

/**
 * The few calls of CouchDB's HTTP interface that the sink needs.
 *
 * <p>Answers 5xx and 429 and connection errors are tried again with growing pauses, about 25 seconds in all; any other
 * error fails with the server's own reason.
 */
final class CouchDbClient {
    private static final int ATTEMPTS = 8;
    private static final long FIRST_PAUSE_MILLIS = 200;
    private static final Duration CONNECT_TIMEOUT = Duration.ofSeconds(10);
    private static final Duration REQUEST_TIMEOUT = Duration.ofSeconds(60);
    private static final int NOT_FOUND = 404;
    private static final int ALREADY_EXISTS = 412;
    private static final ObjectMapper JSON = new ObjectMapper();

    private final CouchDbAddress address;
    private final HttpClient http = HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .connectTimeout(CONNECT_TIMEOUT)
            .build();

    CouchDbClient(CouchDbAddress address) {
        this.address = address;
    }

    /** Creates the database unless it is there. */
    void createDatabaseIfMissing() throws IOException, InterruptedException {
        // Asked first: the answer also proves the login before anything is written.
        Answer found = send("GET", "", null);
        if (found.status() == NOT_FOUND) {
            Answer created = send("PUT", "", null);
            if (created.status() != ALREADY_EXISTS) {
                created.require("create database");
            }
        } else {
            found.require("find database");
        }
    }

    /** What is stored under these ids, tombstones included; ids that were never written are left out. */
    Map<String, Stored> read(Collection<String> ids) throws IOException, InterruptedException {
        ObjectNode request = JSON.createObjectNode();
        ArrayNode keys = request.putArray("keys");
        ids.forEach(keys::add);
        Map<String, Stored> stored = new HashMap<>();
        ObjectNode tombstones = JSON.createObjectNode();
        ArrayNode revisions = tombstones.putArray("docs");
        for (JsonNode row : send("POST", "/_all_docs?include_docs=true", request)
                .require("read documents")
                .path("rows")) {
            JsonNode value = row.path("value");
            if (value.path("deleted").asBoolean()) {
                revisions.addObject().put("id", row.path("key").asText()).set("rev", value.get("rev"));
            } else if (value.has("rev")) {
                stored.put(row.path("key").asText(), stored(row.path("doc")));
            }
        }
        if (!revisions.isEmpty()) {
            // A listing leaves out the body of a deleted document; by its revision it can be had.
            for (JsonNode result : send("POST", "/_bulk_get", tombstones)
                    .require("read deleted documents")
                    .path("results")) {
                JsonNode body = result.path("docs").path(0).path("ok");
                if (body.isObject()) {
                    stored.put(result.path("id").asText(), stored(body));
                }
            }
        }
        return stored;
    }

    /**
     * Writes documents.
     *
     * @return ids that were not written because someone else changed them since they were read
     */
    Set<String> write(Collection<ObjectNode> documents) throws IOException, InterruptedException {
        ObjectNode request = JSON.createObjectNode();
        request.putArray("docs").addAll(documents);
        Set<String> conflicts = new HashSet<>();
        for (JsonNode result :
                send("POST", "/_bulk_docs", request).require("write documents")) {
            String error = result.path("error").asText("");
            if (error.equals("conflict")) {
                conflicts.add(result.path("id").asText());
            } else if (!error.isEmpty()) {
                throw new IOException("CouchDB database %s refused document %s: %s, %s"
                        .formatted(address, result.path("id").asText(), error, result.path("reason").asText()));
            }
        }
        return conflicts;
    }

    private static Stored stored(JsonNode document) {
        // A string above 2^53, see JsonValues; asLong reads both.
        return new Stored(
                document.path("_rev").asText(),
                document.path(ViewSchema.STORED_POSITION).asLong(Long.MIN_VALUE));
    }

    private Answer send(String method, String suffix, JsonNode body) throws IOException, InterruptedException {
        BodyPublisher publisher =
                body == null ? BodyPublishers.noBody() : BodyPublishers.ofByteArray(JSON.writeValueAsBytes(body));
        HttpRequest request = HttpRequest.newBuilder(address.resolve(suffix))
                .method(method, publisher)
                .timeout(REQUEST_TIMEOUT)
                .header("Authorization", address.authorization())
                .header("Content-Type", "application/json")
                .header("Accept", "application/json")
                .build();
        for (int attempt = 1; ; attempt++) {
            try {
                HttpResponse<byte[]> response = http.send(request, BodyHandlers.ofByteArray());
                Answer answer = new Answer(response.statusCode(), response.body());
                if (!answer.isTransient() || attempt == ATTEMPTS) {
                    return answer;
                }
            } catch (IOException unreachable) {
                if (attempt == ATTEMPTS) {
                    throw new IOException(
                            "CouchDB database %s does not answer: %s".formatted(address, unreachable), unreachable);
                }
            }
            Thread.sleep(FIRST_PAUSE_MILLIS << (attempt - 1));
        }
    }

    /** An HTTP answer that has not been judged yet. */
    private final class Answer {
        private final int status;
        private final byte[] body;

        Answer(int status, byte[] body) {
            this.status = status;
            this.body = body;
        }

        int status() {
            return status;
        }

        boolean isTransient() {
            return status >= 500 || status == 429;
        }

        /** The JSON of a good answer; a bad one fails with the server's reason. */
        JsonNode require(String purpose) throws IOException {
            if (status >= 200 && status < 300) {
                return JSON.readTree(body);
            }
            throw new IOException("CouchDB database %s: cannot %s: HTTP %d %s"
                    .formatted(address, purpose, status, reason()));
        }

        private String reason() throws IOException {
            try {
                JsonNode answer = JSON.readTree(body);
                return answer.path("error").asText() + ", " + answer.path("reason").asText();
            } catch (JsonProcessingException notJson) {
                return "without a reason";
            }
        }
    }
}
