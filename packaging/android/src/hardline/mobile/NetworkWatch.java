package hardline.mobile;

import android.net.ConnectivityManager;
import android.net.LinkAddress;
import android.net.LinkProperties;
import android.net.NetworkCapabilities;
import android.net.NetworkRequest;
import android.os.Handler;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Follows the phone's networks. Everything happens on the handler's thread. */
final class NetworkWatch extends ConnectivityManager.NetworkCallback {
    private final ConnectivityManager manager;
    private final Runnable changed;
    private final Map<android.net.Network, LinkProperties> links = new LinkedHashMap<>();
    private final Map<android.net.Network, NetworkCapabilities> capabilities = new LinkedHashMap<>();

    NetworkWatch(ConnectivityManager manager, Runnable changed) {
        this.manager = manager;
        this.changed = changed;
    }

    void start(Handler handler) {
        // Those of a VPN too, which a request leaves out unless told.
        NetworkRequest all = new NetworkRequest.Builder().removeCapability(NetworkCapabilities.NET_CAPABILITY_NOT_VPN).build();
        manager.registerNetworkCallback(all, this, handler);
    }

    void stop() {
        manager.unregisterNetworkCallback(this);
    }

    @Override
    public void onLinkPropertiesChanged(android.net.Network network, LinkProperties properties) {
        links.put(network, properties);
        changed.run();
    }

    @Override
    public void onCapabilitiesChanged(android.net.Network network, NetworkCapabilities known) {
        capabilities.put(network, known);
        changed.run();
    }

    @Override
    public void onLost(android.net.Network network) {
        links.remove(network);
        capabilities.remove(network);
        changed.run();
    }

    /** The networks now. Multicast is to be had on cables and Wi-Fi. */
    List<Network> networks() {
        List<Network> list = new ArrayList<>();
        for (Map.Entry<android.net.Network, LinkProperties> entry : links.entrySet()) {
            String name = entry.getValue().getInterfaceName();
            NetworkCapabilities known = capabilities.get(entry.getKey());
            if (name == null || known == null) {
                continue;
            }
            List<String> addresses = new ArrayList<>();
            for (LinkAddress address : entry.getValue().getLinkAddresses()) {
                addresses.add(text(address.getAddress()) + "/" + address.getPrefixLength());
            }
            String transport = transport(known);
            boolean hasMulticast = transport.equals("wifi") || transport.equals("ethernet");
            list.add(new Network(name, transport, addresses, hasMulticast));
        }
        return list;
    }

    /** A VPN names what it runs over as well. */
    private static String transport(NetworkCapabilities known) {
        if (known.hasTransport(NetworkCapabilities.TRANSPORT_VPN)) {
            return "vpn";
        }
        if (known.hasTransport(NetworkCapabilities.TRANSPORT_WIFI)) {
            return "wifi";
        }
        if (known.hasTransport(NetworkCapabilities.TRANSPORT_ETHERNET)) {
            return "ethernet";
        }
        return known.hasTransport(NetworkCapabilities.TRANSPORT_CELLULAR) ? "mobile" : "other";
    }

    /** The DNS servers of the network in use first, then those of the others. */
    List<String> resolvers() {
        Set<String> servers = new LinkedHashSet<>();
        LinkProperties first = links.get(manager.getActiveNetwork());
        if (first != null) {
            addServers(servers, first);
        }
        for (LinkProperties properties : links.values()) {
            addServers(servers, properties);
        }
        return new ArrayList<>(servers);
    }

    private static void addServers(Set<String> servers, LinkProperties properties) {
        for (InetAddress server : properties.getDnsServers()) {
            servers.add(text(server));
        }
    }

    /** Without the scope behind an address of one link, which is the interface's name beside it. */
    private static String text(InetAddress address) {
        String text = address.getHostAddress();
        int scope = text.indexOf('%');
        return scope < 0 ? text : text.substring(0, scope);
    }
}
