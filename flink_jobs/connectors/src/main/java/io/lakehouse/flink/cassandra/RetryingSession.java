package io.lakehouse.flink.cassandra;

import com.datastax.driver.core.ResultSet;
import com.datastax.driver.core.Session;
import com.datastax.driver.core.Statement;
import com.datastax.driver.core.exceptions.BootstrappingException;
import com.datastax.driver.core.exceptions.BusyPoolException;
import com.datastax.driver.core.exceptions.ConnectionException;
import com.datastax.driver.core.exceptions.NoHostAvailableException;
import com.datastax.driver.core.exceptions.OverloadedException;
import com.datastax.driver.core.exceptions.QueryConsistencyException;
import com.datastax.driver.core.exceptions.UnavailableException;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.apache.flink.cassandra.shaded.com.google.common.util.concurrent.FutureCallback;
import org.apache.flink.cassandra.shaded.com.google.common.util.concurrent.Futures;
import org.apache.flink.cassandra.shaded.com.google.common.util.concurrent.ListenableFuture;
import org.apache.flink.cassandra.shaded.com.google.common.util.concurrent.SettableFuture;

/**
 * Sends idempotent statements again, with growing pauses, while Cassandra is overloaded or out of reach: about 12 seconds
 * in all. After that the failure is the caller's.
 */
final class RetryingSession implements AutoCloseable {
    private static final int ATTEMPTS = 7;
    private static final long FIRST_PAUSE_MILLIS = 200;

    private final Session session;
    private final ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor(task -> {
        Thread thread = new Thread(task, "cassandra-view-retry");
        thread.setDaemon(true);
        return thread;
    });

    RetryingSession(Session session) {
        this.session = session;
    }

    /** Sends the statement; the future fails with the last attempt's error. */
    ListenableFuture<ResultSet> execute(Statement statement) {
        SettableFuture<ResultSet> answer = SettableFuture.create();
        attempt(statement, answer, 1);
        return answer;
    }

    private void attempt(Statement statement, SettableFuture<ResultSet> answer, int number) {
        ListenableFuture<ResultSet> sent;
        try {
            sent = session.executeAsync(statement);
        } catch (RuntimeException closed) {
            // Nobody else would learn of it when this is a later attempt, made by the timer.
            answer.setException(closed);
            return;
        }
        Futures.addCallback(sent, new FutureCallback<ResultSet>() {
            @Override
            public void onSuccess(ResultSet result) {
                answer.set(result);
            }

            @Override
            public void onFailure(Throwable error) {
                if (number == ATTEMPTS || !isTransient(error)) {
                    answer.setException(error);
                    return;
                }
                timer.schedule(
                        () -> attempt(statement, answer, number + 1),
                        FIRST_PAUSE_MILLIS << (number - 1),
                        TimeUnit.MILLISECONDS);
            }
        });
    }

    private static boolean isTransient(Throwable error) {
        return error instanceof NoHostAvailableException
                || error instanceof QueryConsistencyException
                || error instanceof UnavailableException
                || error instanceof OverloadedException
                || error instanceof BootstrappingException
                || error instanceof BusyPoolException
                || error instanceof ConnectionException;
    }

    @Override
    public void close() {
        timer.shutdownNow();
    }
}
