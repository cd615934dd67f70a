package hardline.mobile;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertNull;
import static org.junit.Assert.assertSame;
import static org.junit.Assert.assertThrows;
import static org.junit.Assert.assertTrue;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.json.JSONObject;
import org.junit.Test;

public class LogicTest {
    private static final String KEY = "tz4rfvjdvvgl4sgpw6p4vfg5jqbcnbwn";

    @Test
    public void theWaitDoublesUpToItsLimitAndBeginsAnewAfterALongRun() {
        Backoff backoff = new Backoff();
        long[] expected = {1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000};
        for (long wait : expected) {
            assertEquals(wait, backoff.afterRunOf(10));
        }
        assertEquals(300_000, backoff.afterRunOf(Backoff.WELL_AFTER - 1));
        assertEquals(1_000, backoff.afterRunOf(Backoff.WELL_AFTER));
        assertEquals(2_000, backoff.afterRunOf(0));
    }

    @Test
    public void linksAreFoundInWhatIsShared() {
        String link = "http://" + KEY + ".localhost:7009";
        assertEquals(link + "/a?b=c#d", Links.in("Look: " + link + "/a?b=c#d and more"));
        assertEquals(link, Links.in(link));
        assertEquals("http://pw-" + KEY + ".localhost:7009/", Links.in("<http://pw-" + KEY + ".localhost:7009/>"));
        for (String none : new String[] {"", "http://example.org/", "https://" + KEY + ".localhost:7009/", link + "1/", "http://" + KEY + ".localhost/",
                "http://" + KEY + ".localhost.example.org:7009/"}) {
            assertNull(none, Links.in(none));
        }
        assertNull(Links.in(null));
        assertNull(Links.in("x".repeat(9_000) + link));
    }

    @Test
    public void onlyTheGatewaysAddressesAreShownInTheApp() {
        assertTrue(Links.isOurs(Links.HOME));
        assertTrue(Links.isOurs("http://" + KEY + ".localhost:7009/x"));
        for (String other : new String[] {"http://localhost:7009@example.org/", "http://a.localhost:70091/", "http://localhost:7009.example.org/",
                "javascript:alert(1)//http://localhost:7009/", "file:///etc/passwd", "http://localhost:7009/a b", ""}) {
            assertFalse(other, Links.isOurs(other));
        }
        assertFalse(Links.isOurs(null));
    }

    @Test
    public void eventsAreLinesOfTheProtocol() throws Exception {
        Network wifi = new Network("wlan0", "wifi", Arrays.asList("192.168.1.5/24"), true);
        JSONObject event = new JSONObject(Protocol.networks(Collections.singletonList(wifi)));
        assertEquals(1, event.getInt("v"));
        assertEquals("networks", event.getString("event"));
        JSONObject first = event.getJSONArray("networks").getJSONObject(0);
        assertEquals("wlan0", first.getString("name"));
        assertEquals("wifi", first.getString("transport"));
        assertEquals("192.168.1.5/24", first.getJSONArray("addresses").getString(0));
        assertTrue(first.getBoolean("multicast"));
        assertEquals("1.1.1.1", new JSONObject(Protocol.resolvers(Arrays.asList("1.1.1.1"))).getJSONArray("servers").getString(0));
        assertTrue(new JSONObject(Protocol.doze(true)).getBoolean("on"));
        assertEquals("status", new JSONObject(Protocol.status()).getString("event"));
        assertEquals(32, new JSONObject(Protocol.networks(Collections.nCopies(40, wifi))).getJSONArray("networks").length());
        assertEquals(16, new JSONObject(Protocol.resolvers(Collections.nCopies(40, "::1"))).getJSONArray("servers").length());
    }

    @Test
    public void theNotificationTellsWhatTheProgramSaid() {
        assertEquals("Stopped", State.stopped().sentence());
        State state = State.starting();
        assertEquals("Starting", state.sentence());
        assertSame(state, Protocol.read(state, "{\"v\":1,\"event\":\"status\",\"services\":2,\"tunnels\":1}"));
        state = Protocol.read(state, "{\"v\":1,\"event\":\"ready\",\"gateway\":\"http://localhost:7009/\",\"port\":7009}");
        assertEquals("Running, no service open", state.sentence());
        state = Protocol.read(state, "{\"v\":1,\"event\":\"status\",\"services\":2,\"tunnels\":1}");
        assertEquals("Running, 2 services open, 1 connection", state.sentence());
        state = Protocol.read(state, "{\"v\":1,\"event\":\"status\",\"services\":1,\"tunnels\":0}");
        assertEquals("Running, 1 service open", state.sentence());
        state = Protocol.read(state, "{\"v\":1,\"event\":\"error\",\"message\":\"port 7009 is taken\"}");
        assertEquals("Hardline ended: port 7009 is taken; starts again in 4 s", state.ended(2, 4_000).sentence());
        assertEquals("Hardline ended: exit code 139; starts again in 1 s", State.starting().ended(139, 1_000).sentence());
        assertFalse(state.isSearching);
        state = Protocol.read(state, "{\"v\":1,\"event\":\"searching\",\"on\":true}");
        assertTrue(state.isSearching);
        assertEquals("Running, 1 service open", state.sentence());
        assertFalse(state.ended(9, 1_000).isSearching);
        for (String odd : new String[] {"", "{", "[]", "{\"v\":2,\"event\":\"ready\"}", "{\"v\":1,\"event\":\"dance\"}", "{\"v\":1}"}) {
            assertSame(odd, state, Protocol.read(state, odd));
        }
        State long_ = Protocol.read(state, "{\"v\":1,\"event\":\"error\",\"message\":\"" + "x".repeat(5_000) + "\"}");
        assertEquals(300, long_.message.length());
    }

    @Test
    public void aRunIsFollowedToItsEnd() throws Exception {
        // Answers with its arguments, a line that is too long, and its input; then it breaks.
        Path program = script("echo \"$*\"; head -c 70000 /dev/zero | tr '\\0' x; echo; read line; echo \"$line\"; exit 7");
        LinkedBlockingQueue<String> heard = new LinkedBlockingQueue<>();
        Child child = Child.start(program.toString(), new File("/data/x"), into(heard));
        assertEquals("--mobile --data-dir /data/x", heard.poll(20, TimeUnit.SECONDS));
        child.send("{\"v\":1}");
        assertEquals("{\"v\":1}", heard.poll(20, TimeUnit.SECONDS));
        assertEquals("ended 7 true", heard.poll(20, TimeUnit.SECONDS));
        child.send("nobody reads this");
    }

    @Test
    public void aProgramThatReadsNothingIsToldALittleAndEndedAllTheSame() throws Exception {
        LinkedBlockingQueue<String> heard = new LinkedBlockingQueue<>();
        Child child = Child.start(script("echo begun; exec tail -f /dev/null").toString(), new File("/data/x"), into(heard));
        assertEquals("begun", heard.poll(20, TimeUnit.SECONDS));
        for (int line = 0; line < 10 * Child.MAX_WAITING; line++) {
            child.send("x".repeat(10_000));
        }
        child.end();
        assertEquals("ended 143 true", heard.poll(20, TimeUnit.SECONDS));
    }

    @Test
    public void aProgramThatIsNotThereIsAnError() {
        assertThrows(IOException.class, () -> Child.start("/nowhere/program", new File("/data/x"), into(new LinkedBlockingQueue<>())));
    }

    private static Path script(String text) throws IOException {
        Path program = Files.createTempDirectory("child").resolve("program");
        Files.write(program, ("#!/bin/sh\nPATH=/usr/bin:/bin\n" + text + "\n").getBytes(StandardCharsets.UTF_8));
        program.toFile().setExecutable(true);
        return program;
    }

    private static Child.Listener into(LinkedBlockingQueue<String> heard) {
        return new Child.Listener() {
            @Override
            public void line(Child child, String line) {
                heard.add(line);
            }

            @Override
            public void ended(Child child, int status, long milliseconds) {
                heard.add("ended " + status + " " + (milliseconds >= 0));
            }
        };
    }
}
