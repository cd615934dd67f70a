package android.os;

public final class PowerManager {
    public static final String ACTION_DEVICE_IDLE_MODE_CHANGED = "android.os.action.DEVICE_IDLE_MODE_CHANGED";
    public boolean isIgnoringBatteryOptimizations(String packageName) { throw new RuntimeException(); }
    public boolean isInteractive() { throw new RuntimeException(); }
    public boolean isDeviceIdleMode() { throw new RuntimeException(); }
}
