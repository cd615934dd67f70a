package android.net.wifi;

public class WifiManager {
    public MulticastLock createMulticastLock(String tag) { throw new RuntimeException(); }
    public class MulticastLock {
        public void acquire() { throw new RuntimeException(); }
        public void release() { throw new RuntimeException(); }
        public boolean isHeld() { throw new RuntimeException(); }
        public void setReferenceCounted(boolean on) { throw new RuntimeException(); }
    }
}
