package hardline.mobile;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/** What the app and the program say to each other: a JSON object a line, as docs/android-protocol.md has it. */
final class Protocol {
    private static final int VERSION = 1;
    private static final int MAX_NETWORKS = 32;
    private static final int MAX_SERVERS = 16;
    /** Of a message for people, in characters. */
    private static final int LONGEST_MESSAGE = 300;

    private Protocol() {}

    static String networks(List<Network> networks) {
        List<JSONObject> list = new ArrayList<>();
        for (Network network : networks.subList(0, Math.min(networks.size(), MAX_NETWORKS))) {
            list.add(network.json());
        }
        return event("networks", "networks", new JSONArray(list));
    }

    static String resolvers(List<String> servers) {
        List<String> some = servers.subList(0, Math.min(servers.size(), MAX_SERVERS));
        return event("resolvers", "servers", new JSONArray(some));
    }

    static String doze(boolean on) {
        return event("doze", "on", on);
    }

    static String status() {
        return event("status", null, null);
    }

    private static String event(String name, String field, Object value) {
        Map<String, Object> event = new LinkedHashMap<>();
        event.put("v", VERSION);
        event.put("event", name);
        if (field != null) {
            event.put(field, value);
        }
        return new JSONObject(event).toString();
    }

    /** What the program's line changes in the state; what is not understood changes nothing. */
    static State read(State before, String line) {
        try {
            JSONObject event = new JSONObject(line);
            return event.optInt("v") == VERSION ? understood(before, event) : before;
        } catch (JSONException malformed) {
            return before;
        }
    }

    private static State understood(State before, JSONObject event) {
        switch (event.optString("event")) {
            case "ready":
                return new State(State.RUNNING, 0, 0, false, "");
            case "status":
                if (before.phase != State.RUNNING) {
                    return before;
                }
                int services = Math.max(event.optInt("services"), 0);
                int tunnels = Math.max(event.optInt("tunnels"), 0);
                return new State(State.RUNNING, services, tunnels, before.isSearching, before.message);
            case "searching":
                boolean on = event.optBoolean("on");
                return new State(before.phase, before.services, before.tunnels, on, before.message);
            case "error":
                String message = event.optString("message");
                String shown = message.substring(0, Math.min(message.length(), LONGEST_MESSAGE));
                return new State(before.phase, before.services, before.tunnels, before.isSearching, shown);
            default:
                return before;
        }
    }
}
