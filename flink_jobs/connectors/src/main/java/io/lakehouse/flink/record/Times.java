package io.lakehouse.flink.record;

import java.io.IOException;
import java.time.DateTimeException;
import java.time.LocalDate;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;

/** Dates and times of a record; years are 1 to 9999 of the proleptic Gregorian calendar. */
final class Times {
    private static final long MILLIS_PER_DAY = 86_400_000;
    private static final long MICROS_PER_SECOND = 1_000_000;
    private static final int MICROS_PER_MILLI = 1_000;
    private static final int NANOS_PER_MICRO = 1_000;
    private static final int FRACTION = 6;
    private static final int MAX_FRACTION = 9;
    /** MySQL's longest TIME is 838:59:59. */
    private static final long MAX_TIME = ((838 * 60 + 59) * 60 + 59) * MICROS_PER_SECOND;

    private static final int DATE_LENGTH = "YYYY-MM-DD".length();
    private static final int SECONDS_LENGTH = "YYYY-MM-DDTHH:MM:SS".length();

    private Times() {}

    /** A DATE from {@code YYYY-MM-DDZ}. */
    static Object date(JsonParser parser) throws IOException, WrongValue {
        String text = Texts.text(parser);
        long day = text.length() == DATE_LENGTH + 1 && text.endsWith("Z") ? epochDay(text) : Long.MIN_VALUE;
        if (day == Long.MIN_VALUE) {
            throw Reasons.expected("a date YYYY-MM-DDZ", parser);
        }
        return (int) day;
    }

    /** A TIMESTAMP(6) from {@code YYYY-MM-DDTHH:MM:SS[.f{1,9}]Z}. */
    static Object timestamp(JsonParser parser) throws IOException, WrongValue {
        String text = Texts.text(parser);
        int end = text.length() - 1;
        if (end < SECONDS_LENGTH || text.charAt(end) != 'Z' || text.charAt(DATE_LENGTH) != 'T') {
            throw notATimestamp(parser);
        }
        long day = epochDay(text);
        int second = secondOfDay(text);
        int micros = micros(text, end, MAX_FRACTION);
        if (day == Long.MIN_VALUE || second < 0 || micros < 0) {
            throw notATimestamp(parser);
        }
        for (int at = SECONDS_LENGTH + 1 + FRACTION; at < end; at++) {
            if (text.charAt(at) != '0') {
                throw new WrongValue("%s is finer than a microsecond".formatted(Reasons.shown(parser)));
            }
        }
        return TimestampData.fromEpochMillis(
                day * MILLIS_PER_DAY + second * 1_000L + micros / MICROS_PER_MILLI,
                micros % MICROS_PER_MILLI * NANOS_PER_MICRO);
    }

    /** Signed microseconds from {@code [-]HH:MM:SS.ffffff} with two or three digits of hours. */
    static Object time(JsonParser parser) throws IOException, WrongValue {
        String text = Texts.text(parser);
        int hours = text.startsWith("-") ? 1 : 0;
        int colon = text.indexOf(':');
        boolean formed = (colon - hours == 2 || colon - hours == 3)
                && text.length() == colon + ":MM:SS.ffffff".length()
                && text.charAt(colon + 3) == ':'
                && text.charAt(colon + 6) == '.';
        int hour = formed ? number(text, hours, colon) : -1;
        int minute = formed ? number(text, colon + 1, colon + 3) : -1;
        int second = formed ? number(text, colon + 4, colon + 6) : -1;
        int fraction = formed ? number(text, colon + 7, text.length()) : -1;
        if (hour < 0 || minute < 0 || minute > 59 || second < 0 || second > 59 || fraction < 0) {
            throw Reasons.expected("a time [-]HH:MM:SS.ffffff", parser);
        }
        long micros = ((hour * 60L + minute) * 60 + second) * MICROS_PER_SECOND + fraction;
        if (micros > MAX_TIME) {
            throw new WrongValue("%s is longer than 838:59:59".formatted(Reasons.shown(parser)));
        }
        return hours == 1 ? -micros : micros;
    }

    /** {@code YYYY-MM-DD} as it is, any part of which may be zero. */
    static Object dateText(JsonParser parser) throws IOException, WrongValue {
        String text = Texts.text(parser);
        if (text.length() != DATE_LENGTH || !isDateText(text)) {
            throw Reasons.expected("a date YYYY-MM-DD", parser);
        }
        return StringData.fromString(text);
    }

    /** {@code YYYY-MM-DD HH:MM:SS[.f{1,6}]} as it is, any part of which may be zero. */
    static Object timestampText(JsonParser parser) throws IOException, WrongValue {
        String text = Texts.text(parser);
        if (text.length() < SECONDS_LENGTH
                || !isDateText(text)
                || text.charAt(DATE_LENGTH) != ' '
                || secondOfDay(text) < 0
                || micros(text, text.length(), FRACTION) < 0) {
            throw Reasons.expected("a time YYYY-MM-DD HH:MM:SS[.ffffff]", parser);
        }
        return StringData.fromString(text);
    }

    private static WrongValue notATimestamp(JsonParser parser) throws IOException {
        return Reasons.expected("a time YYYY-MM-DDTHH:MM:SS[.ffffff]Z", parser);
    }

    /** Days since 1970-01-01 of the date at the beginning, the least long if it is none. */
    private static long epochDay(String text) {
        int year = number(text, 0, 4);
        if (year < 1 || text.charAt(4) != '-' || text.charAt(7) != '-') {
            return Long.MIN_VALUE;
        }
        try {
            return LocalDate.of(year, number(text, 5, 7), number(text, 8, 10)).toEpochDay();
        } catch (DateTimeException noSuchDay) {
            return Long.MIN_VALUE;
        }
    }

    private static boolean isDateText(String text) {
        int month = number(text, 5, 7);
        int day = number(text, 8, 10);
        return number(text, 0, 4) >= 0
                && text.charAt(4) == '-'
                && text.charAt(7) == '-'
                && month >= 0
                && month <= 12
                && day >= 0
                && day <= 31;
    }

    /** Seconds of {@code HH:MM:SS} after a date, negative if that is not there. */
    private static int secondOfDay(String text) {
        int hour = number(text, 11, 13);
        int minute = number(text, 14, 16);
        int second = number(text, 17, 19);
        boolean formed = text.charAt(13) == ':' && text.charAt(16) == ':';
        return formed && hour >= 0 && hour <= 23 && minute >= 0 && minute <= 59 && second >= 0 && second <= 59
                ? (hour * 60 + minute) * 60 + second
                : -1;
    }

    /** The first six digits of the fraction after the seconds, if there is one; negative if it is malformed. */
    private static int micros(String text, int end, int maxDigits) {
        if (end == SECONDS_LENGTH) {
            return 0;
        }
        int first = SECONDS_LENGTH + 1;
        if (text.charAt(SECONDS_LENGTH) != '.' || end - first > maxDigits || !Texts.digits(text, first, end)) {
            return -1;
        }
        int micros = 0;
        for (int at = first; at < first + FRACTION; at++) {
            micros = micros * 10 + (at < end ? text.charAt(at) - '0' : 0);
        }
        return micros;
    }

    /** The number that a few digits stand for, negative if they are none. */
    private static int number(String text, int from, int to) {
        if (!Texts.digits(text, from, to)) {
            return -1;
        }
        int number = 0;
        for (int at = from; at < to; at++) {
            number = number * 10 + (text.charAt(at) - '0');
        }
        return number;
    }
}
