package android.net;

public final class LinkProperties {
    public String getInterfaceName() { throw new RuntimeException(); }
    public java.util.List<LinkAddress> getLinkAddresses() { throw new RuntimeException(); }
    public java.util.List<java.net.InetAddress> getDnsServers() { throw new RuntimeException(); }
}
