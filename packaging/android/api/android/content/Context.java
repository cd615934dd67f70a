package android.content;

public abstract class Context {
    public abstract android.content.pm.PackageManager getPackageManager();
    public abstract String getPackageName();
    public abstract android.content.pm.ApplicationInfo getApplicationInfo();
    public abstract java.io.File getNoBackupFilesDir();
    public abstract android.content.ComponentName startForegroundService(Intent service);
    public abstract boolean stopService(Intent service);
    public abstract Intent registerReceiver(BroadcastReceiver receiver, IntentFilter filter);
    public abstract void unregisterReceiver(BroadcastReceiver receiver);
    public abstract void startActivity(Intent intent);
    public final <T> T getSystemService(Class<T> service) { throw new RuntimeException(); }
}
