package android.net;

public class ConnectivityManager {
    public Network getActiveNetwork() { throw new RuntimeException(); }
    public void registerNetworkCallback(NetworkRequest request, NetworkCallback callback, android.os.Handler handler) { throw new RuntimeException(); }
    public void unregisterNetworkCallback(NetworkCallback callback) { throw new RuntimeException(); }
    public static class NetworkCallback {
        public void onLinkPropertiesChanged(Network network, LinkProperties properties) { throw new RuntimeException(); }
        public void onCapabilitiesChanged(Network network, NetworkCapabilities capabilities) { throw new RuntimeException(); }
        public void onLost(Network network) { throw new RuntimeException(); }
    }
}
