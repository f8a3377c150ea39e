package io.lakehouse.flink.couchdb;

import java.io.Serializable;
import java.net.URI;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.Base64;

/** Where the documents go, and as whom. */
record CouchDbAddress(URI server, String database, String username, String password) implements Serializable {
    /** Address of the database, or of something below it, such as {@code /_bulk_docs}. */
    URI resolve(String suffix) {
        String root = server.toString().replaceAll("/+$", "");
        return URI.create(root + "/" + URLEncoder.encode(database, StandardCharsets.UTF_8) + suffix);
    }

    /** Value of the {@code Authorization} header. */
    String authorization() {
        byte[] login = (username + ":" + password).getBytes(StandardCharsets.UTF_8);
        return "Basic " + Base64.getEncoder().encodeToString(login);
    }

    /** Without the login, so that it may stand in a message. */
    @Override
    public String toString() {
        return database;
    }
}
