package android.net;

public class NetworkRequest {
    public static class Builder {
        public Builder() { throw new RuntimeException(); }
        public Builder removeCapability(int capability) { throw new RuntimeException(); }
        public NetworkRequest build() { throw new RuntimeException(); }
    }
}
