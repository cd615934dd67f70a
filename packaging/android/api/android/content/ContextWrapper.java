package android.content;

public class ContextWrapper extends Context {
    public android.content.pm.PackageManager getPackageManager() { throw new RuntimeException(); }
    public String getPackageName() { throw new RuntimeException(); }
    public android.content.pm.ApplicationInfo getApplicationInfo() { throw new RuntimeException(); }
    public java.io.File getNoBackupFilesDir() { throw new RuntimeException(); }
    public android.content.ComponentName startForegroundService(Intent service) { throw new RuntimeException(); }
    public boolean stopService(Intent service) { throw new RuntimeException(); }
    public Intent registerReceiver(BroadcastReceiver receiver, IntentFilter filter) { throw new RuntimeException(); }
    public void unregisterReceiver(BroadcastReceiver receiver) { throw new RuntimeException(); }
    public void startActivity(Intent intent) { throw new RuntimeException(); }
}
