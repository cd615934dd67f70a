package android.net;

public final class NetworkCapabilities {
    public static final int TRANSPORT_CELLULAR = 0;
    public static final int TRANSPORT_WIFI = 1;
    public static final int TRANSPORT_ETHERNET = 3;
    public static final int TRANSPORT_VPN = 4;
    public static final int NET_CAPABILITY_NOT_VPN = 15;
    public boolean hasTransport(int transport) { throw new RuntimeException(); }
}
