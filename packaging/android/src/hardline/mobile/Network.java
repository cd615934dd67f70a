package hardline.mobile;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.json.JSONArray;
import org.json.JSONObject;

/** A network that the phone is in. */
final class Network {
    final String name;
    /** {@code wifi}, {@code mobile} or another word for people. */
    final String transport;
    /** With their prefix, as {@code 192.168.1.5/24}. */
    final List<String> addresses;
    final boolean multicast;

    Network(String name, String transport, List<String> addresses, boolean multicast) {
        this.name = name;
        this.transport = transport;
        this.addresses = addresses;
        this.multicast = multicast;
    }

    JSONObject json() {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("name", name);
        fields.put("transport", transport);
        fields.put("addresses", new JSONArray(addresses));
        fields.put("multicast", multicast);
        return new JSONObject(fields);
    }
}
