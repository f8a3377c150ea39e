package io.lakehouse.flink.record;

import static io.lakehouse.flink.record.RecordTable.refusal;
import static io.lakehouse.flink.record.RecordTable.value;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.time.LocalDate;
import java.time.LocalDateTime;
import org.apache.flink.table.api.DataTypes;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.TimestampData;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class TimesTest {
    @ParameterizedTest
    @ValueSource(strings = {"0001-01-01", "1000-01-01", "1582-10-10", "1969-12-31", "1970-01-01", "2024-02-29", "9999-12-31"})
    void datesOfTheProlepticCalendar(String date) {
        assertEquals(
                (int) LocalDate.parse(date).toEpochDay(), value("date", DataTypes.DATE(), "\"" + date + "Z\""));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "0000-01-01Z", "0000-00-00Z", "2023-02-29Z", "1900-02-29Z", "2024-00-01Z", "2024-13-01Z", "2024-01-32Z",
                "2024-01-00Z", "2024-01-01", "2024-1-1Z", "2024/01/01Z", "+024-01-01Z", "-001-01-01Z", "10000-01-01Z",
                "2024-01-01z", "2024-01-01T00:00:00Z", "", "Z", "２024-01-01Z"
            })
    void otherDatesAreRefused(String text) {
        assertEquals("expected a date YYYY-MM-DDZ, got '" + text + "'", refusal("date", DataTypes.DATE(), quoted(text)));
    }

    @Test
    void datesAreStrings() {
        assertEquals("expected a string, got 19723", refusal("date", DataTypes.DATE(), "19723"));
        assertEquals("expected a string, got 0", refusal("timestamp", DataTypes.TIMESTAMP(6), "0"));
        assertEquals("expected a string, got 0", refusal("time", DataTypes.BIGINT(), "0"));
    }

    @ParameterizedTest
    @CsvSource({
        "2013-01-01T10:15:00Z,2013-01-01T10:15:00",
        "2013-01-01T01:02:03.004Z,2013-01-01T01:02:03.004",
        "2013-01-01T01:02:03.1Z,2013-01-01T01:02:03.1",
        "0001-01-01T00:00:00Z,0001-01-01T00:00:00",
        "0001-01-01T00:00:00.000001Z,0001-01-01T00:00:00.000001",
        "1969-12-31T23:59:59.999999Z,1969-12-31T23:59:59.999999",
        "1970-01-01T00:00:00Z,1970-01-01T00:00:00",
        "9999-12-31T23:59:59.999999Z,9999-12-31T23:59:59.999999",
        "2024-02-29T12:00:00.123456000Z,2024-02-29T12:00:00.123456",
        "2024-02-29T12:00:00.1234560Z,2024-02-29T12:00:00.123456",
    })
    void timestampsToTheMicrosecond(String text, String expected) {
        assertEquals(
                TimestampData.fromLocalDateTime(LocalDateTime.parse(expected)),
                value("timestamp", DataTypes.TIMESTAMP(6), quoted(text)));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "2013-01-01T10:15:00", "2013-01-01T10:15Z", "2013-01-01 10:15:00Z", "2013-01-01T24:00:00Z",
                "2013-01-01T10:60:00Z", "2013-01-01T10:15:60Z", "2013-02-30T10:15:00Z", "0000-00-00T00:00:00Z",
                "2013-01-01T10:15:00.Z", "2013-01-01T10:15:00.1234567890Z", "2013-01-01T10:15:00.12345xZ",
                "2013-01-01T10:15:00+00:00", "2013-01-01T10:15:00,5Z", "2013-01-01T1:15:000Z", "+10000-01-01T00:00:00Z",
                "2013-01-01T10.15.00Z", ""
            })
    void otherTimestampsAreRefused(String text) {
        assertEquals(
                "expected a time YYYY-MM-DDTHH:MM:SS[.ffffff]Z, got '" + text + "'",
                refusal("timestamp", DataTypes.TIMESTAMP(6), quoted(text)));
    }

    @Test
    void finerTimestampsAreNotCut() {
        assertEquals(
                "'2024-02-29T12:00:00.1234561Z' is finer than a microsecond",
                refusal("timestamp", DataTypes.TIMESTAMP(6), "\"2024-02-29T12:00:00.1234561Z\""));
    }

    @ParameterizedTest
    @CsvSource({
        "00:00:00.000000,0",
        "-00:00:00.000000,0",
        "00:00:00.000001,1",
        "-00:00:00.000001,-1",
        "10:15:00.000000,36900000000",
        "010:15:00.000000,36900000000",
        "23:59:59.999999,86399999999",
        "24:00:00.000000,86400000000",
        "838:59:59.000000,3020399000000",
        "-838:59:59.000000,-3020399000000",
        "-838:59:58.999999,-3020398999999",
    })
    void timesAreSignedMicroseconds(String text, long micros) {
        assertEquals(micros, value("time", DataTypes.BIGINT(), quoted(text)));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "10:15:00", "10:15:00.123", "10:15:00.1234567", "10:15:00.000000Z", "10:15:00Z", "1:15:00.000000",
                "0010:15:00.000000", "+10:15:00.000000", "--1:15:00.000000", "10:60:00.000000", "10:15:60.000000",
                "10-15-00.000000", "10:15:00,000000", "10:1x:00.000000", "1\u06610:15:00.000000", "", ":15:00.000000"
            })
    void otherTimesAreRefused(String text) {
        assertEquals(
                "expected a time [-]HH:MM:SS.ffffff, got '" + text + "'",
                refusal("time", DataTypes.BIGINT(), quoted(text)));
    }

    @Test
    void timesEndWhereMySqlsDo() {
        assertEquals(
                "'838:59:59.000001' is longer than 838:59:59",
                refusal("time", DataTypes.BIGINT(), "\"838:59:59.000001\""));
        assertEquals(
                "'-999:00:00.000000' is longer than 838:59:59",
                refusal("time", DataTypes.BIGINT(), "\"-999:00:00.000000\""));
    }

    @ParameterizedTest
    @ValueSource(strings = {"2024-00-00", "0000-00-00", "2024-02-31", "2024-01-15", "9999-12-31"})
    void datesAsTextMayBePartlyZero(String text) {
        assertEquals(StringData.fromString(text), value("date_text", DataTypes.STRING(), quoted(text)));
    }

    @ParameterizedTest
    @ValueSource(strings = {"2024-01-01Z", "2024-13-00", "2024-00-32", "24-00-00", "2024-0a-00", ""})
    void otherDateTextsAreRefused(String text) {
        assertEquals(
                "expected a date YYYY-MM-DD, got '" + text + "'",
                refusal("date_text", DataTypes.STRING(), quoted(text)));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"0000-00-00 00:00:00.000000", "0000-00-00 00:00:00", "2024-00-00 23:59:59.9", "2024-01-01 01:02:03.123"})
    void timestampsAsTextMayBePartlyZero(String text) {
        assertEquals(StringData.fromString(text), value("timestamp_text", DataTypes.STRING(), quoted(text)));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "2024-01-01T01:02:03Z", "2024-01-01T01:02:03", "2024-01-01 24:00:00", "2024-01-01 01:02:03.",
                "2024-01-01 01:02:03.1234567", "2024-01-01 01:02", "2024-13-01 01:02:03", ""
            })
    void otherTimestampTextsAreRefused(String text) {
        assertEquals(
                "expected a time YYYY-MM-DD HH:MM:SS[.ffffff], got '" + text + "'",
                refusal("timestamp_text", DataTypes.STRING(), quoted(text)));
    }

    private static String quoted(String text) {
        return '"' + text + '"';
    }
}
